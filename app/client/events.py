"""Live events as they come over the wire, and the changes between two looks where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from app.client.answers import Document, DocumentEvent, Event, ProgressEvent, Ready, Status
from app.client.errors import UnexpectedAnswer

KINDS: Mapping[str, type[Ready | DocumentEvent | ProgressEvent]] = {
    "ready": Ready,
    "document": DocumentEvent,
    "progress": ProgressEvent,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose events: of one document, or of all that these hold for."""

    document_id: UUID | str | None = None
    collections: Sequence[str] | None = None
    statuses: Sequence[Status] | None = None
    batch_id: UUID | str | None = None

    @property
    def path(self) -> str:
        return "/events" if self.document_id is None else f"/documents/{self.document_id}/events"

    @property
    def params(self) -> dict[str, Any]:
        return {"collection": self.collections, "status": self.statuses, "batch": self.batch_id}

    def is_over(self, event: Event) -> bool:
        """Whether nothing more is wanted after this one."""
        return self.document_id is not None and isinstance(event, DocumentEvent) and event.is_final


class Resumption:
    """Where to go on after a connection broke, so that nothing is missed and nothing told twice.

    The server names a place (`id`) at the end of each batch of events only. What came after the last place
    comes again, and is left out.
    """

    def __init__(self, last_event_id: str | None) -> None:
        self.last_event_id = last_event_id
        self._since: set[str] = set()
        self._again: set[str] = set()

    def begin(self) -> None:
        """A new connection."""
        self._again |= self._since
        self._since = set()

    def take(self, kind: str, data: str, event_id: str) -> Event | None:
        """The event, unless it was told before or is of a kind that is newer than this client.

        Raises:
            UnexpectedAnswer: It does not look like one.
        """
        is_new = data not in self._again
        self._again.discard(data)
        if kind not in {"progress", "message"}:
            self._since.add(data)
        is_place = event_id not in {"", self.last_event_id}  # By the rules of SSE, it goes on to hold.
        if is_place:  # Also where nothing else is said, as at the server's beats.
            self.last_event_id = event_id
            self._since, self._again = set(), set()
        if not is_new or kind not in KINDS:
            return None
        try:
            event = KINDS[kind].model_validate_json(data or "{}")
        except ValidationError as error:
            raise UnexpectedAnswer(f"The server told of a {kind} in a way that is not understood.") from error
        return event.model_copy(update={"id": event_id}) if is_place and kind != "progress" else event


def event_of(document: Document) -> DocumentEvent:
    """What the server would have told of a document that is like this now."""
    return DocumentEvent(
        document_id=document.document_id,
        collection=document.collection,
        external_id=document.external_id,
        title=document.title,
        source_name=document.source_name,
        version=document.version,
        status=document.status,
        stage=document.stage,
        attempt=document.attempt,
        failures=document.failures,
        progress=document.progress,
        chunk_count=document.chunk_count,
        error=document.error,
        at=document.updated_at,
    )


class Changes:
    """What has changed between looks; for servers without live events."""

    def __init__(self, statuses: Sequence[Status] | None) -> None:
        self._statuses = statuses
        self._states: dict[UUID, tuple[Any, ...]] = {}
        self.newest_at: datetime | None = None

    def take(self, document: Document) -> DocumentEvent | None:
        """The change of a document, if it has changed since the last look."""
        self.newest_at = max(self.newest_at or document.created_at, document.created_at)
        state = (document.version, document.attempt, document.status, document.stage)
        is_known = self._states.get(document.document_id) == state
        if document.is_final:
            self._states.pop(document.document_id, None)
        else:
            self._states[document.document_id] = state
        if is_known or (self._statuses and document.status not in self._statuses):
            return None
        return event_of(document)

    def gone_from(self, seen: set[UUID]) -> list[UUID]:
        """Those that were under way, and are no more."""
        return [document_id for document_id in self._states if document_id not in seen]

    def deleted(self, document_id: UUID) -> DocumentEvent:
        """It was under way, and is not there any more."""
        self._states.pop(document_id, None)
        return DocumentEvent(document_id=document_id, deleted=True)
