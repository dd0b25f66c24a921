"""What an object store's refusals mean, as far as they may be told: never an address, a header or a body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from app.errors import ContentMissing, StorageUnavailable
from app.storage.files import storage_error

#: S3's own word for what is wrong, where the answer has one: `NoSuchBucket`, `SignatureDoesNotMatch`.
CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
#: Where the library looks for a role of the machine, last of all.
METADATA = "://169.254.169.254/"

STATUS = re.compile(r"status code: (\d{3})")

REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "the access key is unknown there",
    "SignatureDoesNotMatch": "the secret access key is wrong",
    "ExpiredToken": "the credentials have expired",
    "AccessDenied": "the credentials may not do this",
    "SlowDown": "it asks for fewer requests",
    "QuotaExceeded": "its quota is used up",
}

NO_BUCKET = REASONS["NoSuchBucket"]


@contextmanager
def troubles_told(key: str | None = None) -> Iterator[None]:
    """What the library raises, in words of ours: its own may hold addresses and what else is in a request.

    Raises:
        ContentMissing: There is no object of this key.
        StorageFull, StorageUnavailable: It cannot be done.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise storage_error(error) from error  # Of the stream that is stored, not of the library's.
        reason = reason_of(error)
        if key is not None and isinstance(error, FileNotFoundError) and reason != NO_BUCKET:
            raise ContentMissing(key) from None
        raise StorageUnavailable(reason) from None
    except BaseError as error:
        raise StorageUnavailable(reason_of(error)) from None


def reason_of(error: Exception) -> str:
    """Why the object store did not do it, in a few words."""
    said = str(error)
    if code := CODE.search(said):
        return REASONS.get(code[1], f"the object store answers {code[1]}")
    if METADATA in said:
        return "there are no credentials for it"
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return REASONS["AccessDenied"]
    if status := STATUS.search(said):
        return f"the object store answers with status {status[1]}"
    return "the object store cannot be reached, or does not answer in time"
