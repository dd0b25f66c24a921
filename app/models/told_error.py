"""An error as it is kept with a document, and as clients see it."""

from __future__ import annotations

from typing import Any

from app.errors import ServiceError

#: What a message of an unforeseen exception is cut to: it is for people, and may quote its input.
MAX_MESSAGE_CHARS = 500


def told(error: Exception, *, stage: str | None) -> dict[str, Any]:
    """An error as clients see it: `code, stage, message, retryable, hint`."""
    if isinstance(error, ServiceError):
        code, message, retryable, hint = error.code, str(error), error.retryable, error.hint
    else:
        code, retryable, hint = ServiceError.code, True, ServiceError.hint
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    # It is stored as text and as JSON, whatever a library put into it.
    message = message.replace("\x00", "").encode("utf-8", "replace").decode()[:MAX_MESSAGE_CHARS]
    return {"code": code, "stage": stage, "message": message, "retryable": retryable, "hint": hint}
