"""Many documents in one request: which go together, how they are written, what the answer says of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError

from app.client.answers import BatchItem, BatchSummary
from app.client.errors import ConnectionLost, SluiceError, UnexpectedAnswer
from app.client.items import Entry, Item, Outcome, compact_json

NDJSON = "application/x-ndjson"

#: What goes together into one request. The server makes 200 at a time durable.
GROUP_ITEMS = 400
GROUP_BYTES = 8 * 1024 * 1024

#: Of all groups that are being filled: their number, and the bytes that their items hold.
OPEN_GROUPS = 64
HELD_BYTES = 32 * 1024 * 1024

#: What would be escaped in the name of a part, or is what the server takes for an escape there.
ESCAPED_IN_NAMES = re.compile(r'["\\\x00-\x1f\x7f]|%22|%0[AD]')

Kind = tuple[Literal["lines", "form", "single"], str, str, bool]


def kind_of(item: Item) -> Kind:
    """Equal for items that can go in one request.

    A line of NDJSON says everything, but of text alone. A form takes files of every type; collection and
    metadata are said once for all of it, and the name of each may be its `external_id`.
    """
    if item.is_text:
        return "lines", "", "", False
    by_name = item.external_id is not None
    name = item.external_id or item.file_name
    fits = (
        item.content is not None
        and item.title is None
        and not ESCAPED_IN_NAMES.search(name)
        and _is_utf8(name)  # Names of files need not be; by itself, only that one cannot be sent.
        and (item.name is None or PurePosixPath(name).name == item.name)
    )
    if not fits:
        return "single", "", "", False
    return "form", item.collection, compact_json(item.metadata or {}), by_name


@dataclass(slots=True)
class Group:
    """Items for one request."""

    kind: Kind
    entries: list[Entry] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.kind[0] == "single" or len(self.entries) >= GROUP_ITEMS or self.size_bytes >= GROUP_BYTES

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.size_bytes += len(entry.item.content or entry.item.text or "")


class Grouping:
    """Sorts items into groups as they come; holds no more than a few groups of bounded size."""

    def __init__(self) -> None:
        self._open: dict[Kind, Group] = {}
        self._held_bytes = 0

    def add(self, entry: Entry) -> Iterator[Group]:
        """Put a loaded item with its like; what is full, or has to make room, is given out."""
        kind = kind_of(entry.item)
        group = self._open.setdefault(kind, Group(kind))
        before = group.size_bytes
        group.add(entry)
        self._held_bytes += group.size_bytes - before
        if group.is_full:
            yield self._taken(group)
        elif len(self._open) > OPEN_GROUPS or self._held_bytes > HELD_BYTES:
            yield self._taken(max(self._open.values(), key=lambda each: each.size_bytes))

    def _taken(self, group: Group) -> Group:
        self._held_bytes -= group.size_bytes
        return self._open.pop(group.kind)

    def rest(self) -> Iterator[Group]:
        """What is left at the end."""
        yield from self._open.values()
        self._open = {}


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def batch_body(kind: Kind, entries: Sequence[Entry]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the body of `POST /ingest/batch`, for httpx."""
    shape, collection, metadata, by_name = kind
    if shape == "lines":
        lines = (compact_json({"text": entry.item.text, **entry.item.fields}) + "\n" for entry in entries)
        headers = {"content-type": "application/x-ndjson"}
        return {}, {"content": "".join(lines).encode("utf-8", "surrogatepass"), "headers": headers}
    files = []
    for entry in entries:
        item = entry.item
        name = item.external_id or item.file_name
        files.append(("file", (name, item.content, "application/octet-stream")))
    data = {"collection": collection, "metadata": metadata}
    return {"external_ids": "path"} if by_name else {}, {"data": data, "files": files}


class BatchAnswer:
    """The answer to one batch, line by line as it comes."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._untold = dict(enumerate(entries))
        self._for_now: dict[int, SluiceError] = {}  # By the index of the entry.
        self._batch_id: UUID | None = None
        #: Why it ended before all were told; None when the items that are left were refused one by one.
        self.trouble: SluiceError | None = ConnectionLost("The answer to a batch broke off.")

    @property
    def has_told(self) -> bool:
        """Whether anything of it was told for good."""
        return len(self.left) < len(self._entries)

    @property
    def left(self) -> list[Entry]:
        """What has not been told, or only that it cannot be taken for now."""
        return list(self._untold.values())

    def begin(self, location: str) -> None:
        """`Location` has the batch's id."""
        self._batch_id = UUID(location.rpartition("/")[2]) if location else None

    def take(self, line: str) -> Outcome | None:
        """What a line tells for good, if anything.

        Raises:
            UnexpectedAnswer: It is none of a batch.
        """
        if not line.strip():
            return None
        try:
            said = json.loads(line)
            if "index" not in said:
                error = BatchSummary.model_validate(said).error
                self.trouble = None if error is None else error.as_error()
                return None
            item = BatchItem.model_validate(said)
            entry = self._untold[item.index]
        except (ValidationError, ValueError, TypeError, KeyError) as error:
            raise UnexpectedAnswer("The answer to a batch has a line that tells of no item.") from error
        if item.error is not None and item.error.retryable:
            self._for_now[entry.index] = item.error.as_error()
            return None
        del self._untold[item.index]
        return Outcome.told(entry, item, self._batch_id)

    def given_up(self, entry: Entry) -> Outcome:
        """An entry that is left, with the reason."""
        return Outcome(entry.given, entry.index, error=self._for_now.get(entry.index) or self.trouble)
