"""What a call can fail with: the server's errors by their own names, and those of the way there.

The parent class says what may help: a `PermanentError` comes again, a `TransientError` may work later (and
was tried a few times already). Errors carry what the server said: `code` for programs, `hint` for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from app.client.answers import Document


class SluiceError(Exception):
    """Parent of everything that this client raises about its calls."""

    code: str = "internal_error"
    hint: str = "Look at the server's log, and report what you find there."
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        status: int | None = None,
        document_id: UUID | str | None = None,
        errors: list[dict[str, Any]] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.code
        self.hint = self.hint if hint is None else hint
        self.status = status  # Of the HTTP answer; None when there was none.
        self.document_id = document_id  # That the call was about.
        self.errors = errors or []  # The places of a request that are wrong: `pointer` and `detail`.
        self.retry_after_s = retry_after_s  # As the server asked.
        #: An earlier try of the same call may have been carried out: its answer got lost.
        self.after_lost_answer = False


class PermanentError(SluiceError):
    """The same call will fail in the same way again."""


class TransientError(SluiceError):
    """It may work later; it was tried as often as the client's `Retries` allow."""

    code = "temporary_failure"
    hint = "Try again later."
    retryable = True


# --- On the way there --------------------------------------------------------------------------------------


class ServerUnreachable(TransientError):
    """Nobody answers at the URL; nothing was sent."""

    code = "server_unreachable"
    hint = "Start a server (`./sluice up`), or name another one: `url`, `--url` or SLUICE_URL."


class ConnectionLost(TransientError):
    """The connection ended in the middle; the call may have been carried out."""

    code = "connection_lost"
    hint = "Send it again: nothing is done twice."


class AnswerTooLate(TransientError):
    """The server has the request and does not answer in time."""

    code = "answer_too_late"
    hint = "Look whether the server is overloaded; it is safe to send the call again."


class UnexpectedAnswer(PermanentError):
    """Whoever answers is no Sluice, or something between us changes what it says."""

    code = "unexpected_answer"
    hint = "Check that the URL is that of a Sluice server, with nothing in between that answers in its place."


class NotSendable(PermanentError):
    """The request cannot be made: a file that cannot be read, or changed while it was read."""

    code = "not_sendable"
    hint = "Check that the file can be read and is not being written just now."


class NotFinalInTime(TransientError):
    """`wait` has waited long enough; the document goes on without it."""

    code = "not_final_in_time"
    hint = "Wait longer; `stage` and `progress` of the document tell how far it is."


class DocumentFailed(SluiceError):
    """What `Document.raise_for_failure` raises; the document's own error says why."""

    def __init__(self, document: Document) -> None:
        error = document.error
        assert error is not None
        super().__init__(error.message, code=error.code, hint=error.hint, document_id=document.document_id)
        self.retryable = error.retryable
        self.document = document


# --- What the server says: one class for each of its codes -------------------------------------------------


class Unauthorized(PermanentError):
    code = "unauthorized"


class Forbidden(PermanentError):
    code = "forbidden"


class TooManyRequests(TransientError):
    code = "too_many_requests"


class InvalidRequest(PermanentError):
    code = "invalid_request"


class IdempotencyKeyReused(PermanentError):
    code = "idempotency_key_reused"


class UnknownBodyType(PermanentError):
    code = "unsupported_body_type"


class UnsupportedMediaType(PermanentError):
    code = "unsupported_media_type"


class UnsupportedMember(PermanentError):
    code = "unsupported_member"


class EmptyFile(PermanentError):
    code = "empty_file"


class CorruptFile(PermanentError):
    code = "corrupt_file"


class CrossOrigin(PermanentError):
    code = "cross_origin"


class HostUnknown(PermanentError):
    code = "host_unknown"


class PayloadTooLarge(PermanentError):
    code = "payload_too_large"


class TooManyItems(PermanentError):
    code = "too_many_items"


class DocumentNotFound(PermanentError):
    code = "document_not_found"


class BatchNotFound(PermanentError):
    code = "batch_not_found"


class CollectionNotFound(PermanentError):
    code = "collection_not_found"


class CollectionBusy(PermanentError):
    code = "collection_in_use"


class CollectionDeleting(TransientError):
    code = "collection_deleting"


class NotSearchable(PermanentError):
    code = "not_searchable"


class VersionReplaced(PermanentError):
    code = "version_replaced"


class PreconditionFailed(PermanentError):
    code = "precondition_failed"


class RangeNotSatisfiable(PermanentError):
    code = "range_not_satisfiable"


class EmbedderMissing(PermanentError):
    code = "embedder_missing"


class RerankerMissing(PermanentError):
    code = "reranker_missing"


class EmbedderRefused(PermanentError):
    code = "embedder_refused"


class WebhookNotFound(PermanentError):
    code = "webhook_not_found"


class WebhookDisabled(PermanentError):
    code = "webhook_disabled"


class DeliveryNotFound(PermanentError):
    code = "delivery_not_found"


class TooManyWebhooks(PermanentError):
    code = "too_many_webhooks"


class AddressRefused(PermanentError):
    code = "address_refused"


class KeyNotFound(PermanentError):
    code = "key_not_found"


class TooManyKeys(PermanentError):
    code = "too_many_keys"


class OpenToAll(PermanentError):
    code = "open_to_all"


class EventsExpired(PermanentError):
    """The events after this id are not kept any more: begin without an id, and look at what there is."""

    code = "events_expired"


class RequestTooSlow(TransientError):
    code = "request_too_slow"


class BatchInterrupted(TransientError):
    code = "batch_interrupted"


class RerankerUnavailable(TransientError):
    code = "reranker_unavailable"


class EmbedderUnavailable(TransientError):
    code = "embedder_unavailable"


class ModelUnavailable(TransientError):
    code = "model_unavailable"


class ContentMissing(TransientError):
    code = "content_missing"


class DatabaseUnavailable(TransientError):
    code = "database_unavailable"


class DatabaseBusy(TransientError):
    code = "database_busy"


class DatabaseFull(TransientError):
    code = "database_full"


class StorageUnavailable(TransientError):
    code = "storage_unavailable"


class StorageFull(TransientError):
    code = "storage_full"


BY_CODE: dict[str, type[SluiceError]] = {
    kind.code: kind for parent in (PermanentError, TransientError) for kind in parent.__subclasses__()
}


def of_code(code: str, *, retryable: bool) -> type[SluiceError]:
    """The class of a code; for one that is newer than this client, the family that the server names."""
    return BY_CODE.get(code) or (TransientError if retryable else PermanentError)
