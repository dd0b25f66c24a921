# Made from asynchronous/client.py by `python -m app.client.making`: change that one.
"""`Sluice`: every call of the API as a method."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx

from app.client.answers import (
    Answer,
    Attempt,
    Attempts,
    Batch,
    BatchItem,
    BatchItemPage,
    Chunk,
    ChunkPage,
    Collection,
    CollectionPage,
    Document,
    DocumentPage,
    Event,
    Health,
    Hit,
    Hits,
    Ingested,
    Retried,
    Stats,
    Status,
)
from app.client.calls import Call, decoded, json_body, listed
from app.client.errors import (
    CollectionNotFound,
    DocumentNotFound,
    NotFinalInTime,
    PreconditionFailed,
    SluiceError,
    VersionReplaced,
)
from app.client.events import Wanted
from app.client.items import Item, Outcome
from app.client.patches import is_applied
from app.client.retries import Retries
from app.client.settings import ClientSettings
from app.client.synchronous.connection import Connection
from app.client.synchronous.ingesting import Sender
from app.client.synchronous.keys import Keys
from app.client.synchronous.waiting import beside, sleep
from app.client.synchronous.watching import Watcher
from app.client.synchronous.webhooks import Webhooks
from app.client.unset import UNSET, Unset, said

PageT = TypeVar("PageT", bound=Answer)

ID = UUID | str

#: What the server waits at most before it answers `?wait=`.
LONG_POLL_S = 30.0

#: Between two looks at a batch.
FIRST_LOOK_S, LAST_LOOK_S = 0.1, 2.0


class Sluice(Webhooks, Keys):
    """A client of one Sluice server, for threads. Use as a context manager, or `close` it.

    Calls that fail on the way, or that the server cannot carry out just now, are sent again a few times, as
    far as that does no harm: a lost answer never makes a second document. What is raised in the end is a
    `SluiceError`, by its own name.

    Args:
        url: Of the server; else SLUICE_URL, else `url` in ~/.config/sluice/config.toml, else this machine.
        api_key: Sent as `Authorization: Bearer`; else SLUICE_API_KEY, else `api_key` in that file.
        retries: How often, and how soon, a call is sent again.
        timeout_s: How long the server may be silent in the middle of a call.
        poll_s: How often to look where the server has no live events.
        on_pause: Called with the error and the seconds before each pause after which a call is sent again.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        retries: Retries | None = None,
        timeout_s: float = 60.0,
        poll_s: float = 2.0,
        on_pause: Callable[[SluiceError, float], None] | None = None,
    ) -> None:
        settings = ClientSettings.load(url, api_key)
        self.url = settings.url
        self._connection = Connection(
            settings, retries=retries or Retries(), timeout_s=timeout_s, on_pause=on_pause
        )
        self._sender = Sender(self._connection)
        self._watcher = Watcher(self._connection, poll_s=poll_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # --- Taking in ------------------------------------------------------------------------------------------

    def ingest(
        self,
        text: str | None = None,
        *,
        path: Path | str | None = None,
        content: bytes | None = None,
        file: BinaryIO | None = None,
        name: str | None = None,
        title: str | None = None,
        external_id: str | None = None,
        collection: str = "default",
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Ingested:
        """Take a document in: a text, or a file by its path, its bytes or as an open file.

        When this returns, the document is safe, and will be COMPLETED, or FAILED with a reason. The same
        again is answered with the same id, and nothing is done twice.

        Args:
            text, path, content, file: Exactly one of them; see `Item`.
            name: Of the file.
            title, external_id, collection, metadata: As in `POST /ingest`.
            idempotency_key: For a call that is repeated by another process; within one call, every try has
                the same key anyway.
        """
        item = Item(
            text=text,
            path=path,
            content=content,
            file=file,
            name=name,
            title=title,
            external_id=external_id,
            collection=collection,
            metadata=metadata,
        )
        return self._sender.one(item, idempotency_key=idempotency_key)

    def ingest_many(self, items: Iterable[Item]) -> Generator[Outcome, None, None]:
        """Take many documents in, some hundred in each request.

        Items are taken from `items` as they can be sent, and no more than a few MB of them are held. Each is
        taken or refused for itself; the outcomes come group by group, each with its item and its index.
        """
        return self._sender.many(items)

    # --- Looking --------------------------------------------------------------------------------------------

    def document(self, document_id: ID, *, wait: float = 0) -> Document:
        """A document as it is now; with `wait`, as soon as it is final, or after so many seconds (to 60)."""
        call = _about(document_id, params={"wait": wait or None}, patience_s=wait)
        return _with_etag(self._connection.send(call))

    def refresh(self, document: Document) -> Document:
        """The document as it is now; the very same value when nothing has changed."""
        headers = {} if document.etag is None else {"if-none-match": document.etag}
        response = self._connection.send(_about(document.document_id, headers=headers))
        return document if response.status_code == httpx.codes.NOT_MODIFIED else _with_etag(response)

    def wait(self, document_id: ID, timeout_s: float | None = None) -> Document:
        """The document once it is final: COMPLETED or FAILED (see `Document.raise_for_failure`).

        Raises:
            NotFinalInTime: It is not, after so many seconds.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while True:
            left_s = LONG_POLL_S if deadline is None else min(deadline - monotonic(), LONG_POLL_S)
            document = self.document(document_id, wait=max(left_s, 0))
            if document.is_final:
                return document
            if deadline is not None and monotonic() >= deadline:
                raise NotFinalInTime(
                    f"The document {document_id} is {document.status} after {timeout_s:g} s.",
                    document_id=document_id,
                )

    def documents(
        self,
        *,
        status: Sequence[Status] | Status | None = None,
        collection: str | None = None,
        external_id: str | None = None,
        external_id_prefix: str | None = None,
        media_type: str | None = None,
        q: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        error_code: str | None = None,
        batch_id: ID | None = None,
        page_size: int = 100,
    ) -> Generator[Document, None, None]:
        """Documents, newest first; each filter narrows what the others leave."""
        filters = {
            "status": listed(status),
            "collection": collection,
            "external_id": external_id,
            "external_id_prefix": external_id_prefix,
            "media_type": media_type,
            "q": q,
            "created_after": created_after,
            "created_before": created_before,
            "error_code": error_code,
            "batch_id": batch_id,
        }
        for page in self._pages(DocumentPage, "/documents", filters, page_size):
            for document in page.documents:
                yield document

    def chunks(self, document_id: ID, *, page_size: int = 200) -> Generator[Chunk, None, None]:
        """The chunks of the version that searches find.

        Raises:
            VersionReplaced: A newer version was indexed meanwhile: begin again.
        """
        for page in self._pages(ChunkPage, f"/documents/{document_id}/chunks", {}, page_size):
            for chunk in page.chunks:
                yield chunk

    def attempts(self, document_id: ID) -> list[Attempt]:
        """What became of each attempt, oldest first."""
        answer = self._connection.get(Attempts, _about(document_id, "/attempts"))
        return answer.attempts

    def content(self, document_id: ID, *, format: Literal["original", "text"] = "original") -> bytes:
        """What was sent, as it was; or, as `text` in UTF-8, what was read in it."""
        response = self._connection.send(_about(document_id, "/content", params={"format": format}))
        return response.content

    def download(self, document_id: ID, path: Path | str) -> None:
        """Write what was sent to a file; a connection that breaks is gone on with, not begun again.

        Raises:
            VersionReplaced: Another version came in the middle; begin again.
        """
        etag: str | None = None
        tries = 0
        with Path(path).open("wb") as file:
            while True:
                size_before = file.tell()
                call = _about(document_id, "/content", headers=_rest(size_before, etag))
                try:
                    with self._connection.streamed(call) as response:
                        if etag and response.headers.get("etag") != etag:
                            raise VersionReplaced(f"The document {document_id} was replaced meanwhile.")
                        etag = response.headers.get("etag")
                        if response.status_code == httpx.codes.OK:
                            file.seek(0)
                            file.truncate()
                        for block in response.iter_bytes():
                            beside(partial(file.write, block))
                        return
                except SluiceError as error:
                    tries = 1 if file.tell() > size_before else tries + 1
                    pause_s = self._connection.pause_s(tries, error)
                    if pause_s is None:
                        raise
                    self._connection.pause(pause_s, error)

    # --- Steering -------------------------------------------------------------------------------------------

    def retry(self, document_id: ID) -> Document:
        """Queue a FAILED document again, with all its tries; in any other status, nothing is done."""
        return _with_etag(self._connection.send(_about(document_id, "/retry", method="POST")))

    def retry_failed(
        self,
        *,
        document_ids: Sequence[ID] | ID | None = None,
        collection: str | None = None,
        codes: Sequence[str] | str | None = None,
        failed_after: datetime | None = None,
        failed_before: datetime | None = None,
        limit: int = 10_000,
    ) -> Retried:
        """Queue all FAILED documents again that these hold for.

        Raises:
            ConnectionLost: The answer with the number got lost. It is not sent again by itself, since the
                second answer would have another number; sending it again does no harm.
        """
        ids = listed(document_ids)
        chosen = {
            "document_ids": None if ids is None else [str(each) for each in ids],
            "collection": collection,
            "codes": listed(codes),
            "failed_after": None if failed_after is None else failed_after.isoformat(),
            "failed_before": None if failed_before is None else failed_before.isoformat(),
            "limit": limit,
        }
        call = Call(
            method="POST",
            path="/documents/retry",
            body=json_body({name: value for name, value in chosen.items() if value is not None}),
            is_repeatable=False,
        )
        return self._connection.get(Retried, call)

    def cancel(self, document_id: ID) -> Document:
        """Give up a document that is not final: it is FAILED with the code `cancelled`."""
        return _with_etag(self._connection.send(_about(document_id, "/cancel", method="POST")))

    def amend(
        self,
        document_id: ID,
        *,
        title: str | Unset | None = UNSET,
        metadata: Mapping[str, Any] | Unset | None = UNSET,
        if_match: str | None = None,
    ) -> Document:
        """Change title and metadata: None removes, what is left out stays, metadata are merged.

        Args:
            if_match: An `etag`: only if the document has not changed since.

        Raises:
            PreconditionFailed: It has; nothing was done.
        """
        patch = said(title=title, metadata=metadata)
        call = _about(
            document_id,
            method="PATCH",
            headers={"content-type": "application/merge-patch+json", **_match(if_match)},
            body=json_body(patch),
        )
        try:
            return _with_etag(self._connection.send(call))
        except PreconditionFailed as error:
            # Perhaps it was we who changed it, and the answer got lost.
            if error.after_lost_answer:
                document = self.document(document_id)
                if _has(document, patch):
                    return document
            raise

    def delete(self, document_id: ID, *, if_match: str | None = None) -> None:
        """Remove a document in any status, with every trace of it.

        Raises:
            DocumentNotFound: There is none.
            PreconditionFailed: It has changed since it had the etag `if_match`; nothing was done.
        """
        try:
            self._connection.send(_about(document_id, method="DELETE", headers=_match(if_match)))
        except DocumentNotFound as error:
            if not error.after_lost_answer:
                raise

    # --- Batches --------------------------------------------------------------------------------------------

    def batch(self, batch_id: ID) -> Batch:
        """How the documents of a batch are now, in numbers."""
        return self._connection.get(Batch, Call(method="GET", path=f"/batches/{batch_id}"))

    def batch_items(self, batch_id: ID, *, page_size: int = 500) -> Generator[BatchItem, None, None]:
        """The items of a batch in their order, with their documents' present status."""
        for page in self._pages(BatchItemPage, f"/batches/{batch_id}/items", {}, page_size):
            for item in page.items:
                yield item

    def wait_for_batch(self, batch_id: ID, timeout_s: float | None = None) -> Batch:
        """The batch once all its documents are final.

        Raises:
            NotFinalInTime: They are not, after so many seconds.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        pause_s = FIRST_LOOK_S
        while True:
            batch = self.batch(batch_id)
            if batch.is_final:
                return batch
            if deadline is not None and monotonic() >= deadline:
                raise NotFinalInTime(f"The batch {batch_id} is not final after {timeout_s:g} s.")
            sleep(pause_s)
            pause_s = min(pause_s * 1.5, LAST_LOOK_S)

    # --- Collections ----------------------------------------------------------------------------------------

    def collections(self, *, page_size: int = 50) -> Generator[Collection, None, None]:
        """Collections by name, with what is in each."""
        for page in self._pages(CollectionPage, "/collections", {}, page_size):
            for collection in page.collections:
                yield collection

    def collection(self, name: str) -> Collection:
        """A collection with what is in it."""
        return self._connection.get(Collection, _collection(name))

    def put_collection(
        self,
        name: str,
        *,
        language: str | Unset | None = UNSET,
        chunk_tokens: int | Unset | None = UNSET,
        overlap_tokens: int | Unset | None = UNSET,
        embedder: str | Unset = UNSET,
    ) -> Collection:
        """Make a collection, or change its settings; what is left out stays."""
        settings = said(
            language=language,
            chunk_tokens=chunk_tokens,
            overlap_tokens=overlap_tokens,
            embedder=embedder,
        )
        return self._connection.get(Collection, _collection(name, "PUT", json_body(settings)))

    def delete_collection(self, name: str) -> Collection | None:
        """Delete a collection with all that is in it, in the background; None when it is gone already.

        From now on nothing of it is found, and `collection` tells in `deletion` how much is left.

        Raises:
            CollectionNotFound: There is none.
        """
        try:
            return self._connection.get(Collection, _collection(name, "DELETE"))
        except CollectionNotFound as error:
            if error.after_lost_answer:
                return None
            raise

    # --- Searching ------------------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        *,
        mode: Literal["hybrid", "vector", "keyword"] = "hybrid",
        top_k: int = 10,
        collections: Sequence[str] | str | None = None,
        filter: Mapping[str, Any] | None = None,
        min_score: float | None = None,
        max_per_document: int | None = None,
        context: int = 0,
        ef_search: int | None = None,
        exact: bool = False,
        rerank: bool = False,
    ) -> list[Hit]:
        """The passages that answer a question best, with the place where each stands (docs/search.md)."""
        asked = {
            "query": query,
            "mode": mode,
            "top_k": top_k,
            "collections": listed(collections),
            "filter": filter,
            "min_score": min_score,
            "max_per_document": max_per_document,
            "context": context,
            "ef_search": ef_search,
            "exact": exact,
            "rerank": rerank,
        }
        body = json_body({name: value for name, value in asked.items() if value is not None})
        answer = self._connection.get(Hits, Call(method="POST", path="/search", body=body))
        return answer.hits

    # --- Live -----------------------------------------------------------------------------------------------

    def watch(
        self,
        document_id: ID | None = None,
        *,
        collections: Sequence[str] | str | None = None,
        statuses: Sequence[Status] | Status | None = None,
        batch_id: ID | None = None,
        last_event_id: str | None = None,
    ) -> Generator[Event, None, None]:
        """Events as they happen: of one document until it is final, or of all that the filters let through.

        The first is `Ready`, from which on nothing is missed, or, of one document, its present state. A
        connection that breaks is made again, and goes on where it broke. A server without live events is
        looked at every `poll_s` seconds instead.

        Args:
            last_event_id: The `id` of an event: go on after it, and tell first what came meanwhile.

        Raises:
            EventsExpired: What came after `last_event_id` is not kept any more.
        """
        wanted = Wanted(document_id, listed(collections), listed(statuses), batch_id)
        return self._watcher.watch(wanted, last_event_id)

    # --- The server -----------------------------------------------------------------------------------------

    def health(self) -> Health:
        """The server's process answers."""
        return self._connection.get(Health, Call(method="GET", path="/healthz"))

    def ready(self) -> Health:
        """The server can accept documents.

        Raises:
            DatabaseUnavailable: It cannot just now.
        """
        return self._connection.get(Health, Call(method="GET", path="/readyz"))

    def stats(self) -> Stats:
        """The service in numbers: documents, queue, throughput, workers, storage."""
        return self._connection.get(Stats, Call(method="GET", path="/stats"))

    # --- What they share ------------------------------------------------------------------------------------

    def _pages(
        self, kind: type[PageT], path: str, filters: Mapping[str, Any], page_size: int
    ) -> Generator[PageT, None, None]:
        place: dict[str, Any] = {}
        while True:
            params = {**filters, "limit": page_size, **place}
            page = self._connection.get(kind, Call(method="GET", path=path, params=params))
            yield page
            place = {
                name: value
                for name, value in (
                    ("cursor", getattr(page, "next_cursor", None)),
                    ("after", getattr(page, "next_after", None)),
                )
                if value is not None
            }
            if not place:
                return


def _about(document_id: ID, below: str = "", *, method: str = "GET", **more: Any) -> Call:
    path = f"/documents/{quote(str(document_id), safe='')}{below}"
    return Call(method=method, path=path, document_id=document_id, **more)


def _collection(name: str, method: str = "GET", body: Any = None) -> Call:
    path = f"/collections/{quote(name, safe='')}"
    return Call(method=method, path=path) if body is None else Call(method=method, path=path, body=body)


def _match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"if-match": etag}


def _rest(begun_bytes: int, etag: str | None) -> dict[str, str]:
    """What is left of a content that was begun."""
    return {} if etag is None else {"range": f"bytes={begun_bytes}-", "if-range": etag}


def _with_etag(response: httpx.Response) -> Document:
    document = decoded(Document, response)
    document._etag = response.headers.get("etag")
    return document


def _has(document: Document, patch: Mapping[str, Any]) -> bool:
    """Whether a document is as this merge patch makes it."""
    if "title" in patch and document.title != patch["title"]:
        return False
    metadata = patch.get("metadata", {})
    return document.metadata == {} if metadata is None else is_applied(metadata, document.metadata)
