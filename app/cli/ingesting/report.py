"""What became of the files of a call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.cli.ingesting.walking import File, LeftOut, Walk
from app.cli.remote.command import error_as_json
from app.cli.remote.exits import ExitCode, exit_code_of
from app.client import Document, DocumentError, SluiceError, Status


class Fate(StrEnum):
    """In the end, each file has one of these."""

    NEW = "new"
    UPDATED = "updated"  # A new version of a document.
    AMENDED = "amended"  # The server had it already, but not with these metadata.
    UNCHANGED = "unchanged"  # The server had it already.
    FAILED = "failed"  # It was not taken, or could not be read.
    UNSENT = "unsent"  # The call ended before.


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a file failed."""

    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, error: SluiceError | DocumentError) -> Trouble:
        """Of a call that failed, or of a document that did."""
        message = str(error) if isinstance(error, SluiceError) else error.message
        return cls(error.code, message, error.hint)


@dataclass(slots=True)
class Result:
    """What became of one file, so far."""

    file: File
    fate: Fate = Fate.UNSENT
    document_id: UUID | None = None
    status: Status | None = None
    trouble: Trouble | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will come of it: it is final, or was never taken."""
        return self.fate is Fate.FAILED or self.status in {"COMPLETED", "FAILED"}

    def fail(self, error: SluiceError | DocumentError) -> None:
        """It failed, whatever it was before."""
        self.fate, self.trouble = Fate.FAILED, Trouble.of(error)

    def settle(self, document: Document) -> None:
        """What a document came to."""
        self.status = document.status
        if document.error is not None:
            self.fail(document.error)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "path": None if self.file.path is None else str(self.file.path),
            "external_id": self.file.external_id,
            "result": self.fate.value,
            "document_id": None if self.document_id is None else str(self.document_id),
            "status": self.status,
            "error": None
            if self.trouble is None
            else {"code": self.trouble.code, "message": self.trouble.message, "hint": self.trouble.hint},
        }


@dataclass(slots=True)
class Report:
    """All of a call.

    Args:
        left_out, unreadable: What was found and not looked at; of the latter, there may be something missed.
        trouble: Why the call ended before its time.
    """

    results: list[Result]
    left_out: Sequence[LeftOut] = ()
    unreadable: Sequence[LeftOut] = ()
    trouble: SluiceError | None = None
    was_interrupted: bool = False
    elapsed_s: float = 0.0
    _by_label: dict[str, Result] = field(init=False)

    def __post_init__(self) -> None:
        self._by_label = {result.file.label: result for result in self.results}

    def of(self, file: File) -> Result:
        """The result of a file of this call."""
        return self._by_label[file.label]

    @property
    def counts(self) -> Counter[Fate]:
        return Counter(result.fate for result in self.results)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.fate is Fate.FAILED]

    @property
    def exit_code(self) -> ExitCode:
        """What a script is told."""
        if self.was_interrupted:
            return ExitCode.INTERRUPTED
        if self.trouble is not None:
            return exit_code_of(self.trouble)
        return ExitCode.FAILED if self.failures or self.unreadable else ExitCode.GOOD

    def as_json(self) -> dict[str, Any]:
        """The one document of `--json`."""
        return {
            **{fate.value: self.counts[fate] for fate in Fate},
            "left_out": [{"path": str(each.path), "reason": each.reason} for each in self.left_out],
            "unreadable": [{"path": str(each.path), "reason": each.reason} for each in self.unreadable],
            "interrupted": self.was_interrupted,
            "elapsed_s": round(self.elapsed_s, 3),
            "error": None if self.trouble is None else error_as_json(self.trouble),
            "files": [result.as_json() for result in self.results],
        }


def results_of(walk: Walk) -> list[Result]:
    """One for each file, with nothing in it yet."""
    return [Result(file) for file in walk.files.values()]
