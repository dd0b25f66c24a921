"""What is told of an object store's refusal holds nothing of the request."""

from __future__ import annotations

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from app.storage.object_errors import reason_of

URL = (
    "Error performing GET http://user:hunter2@10.1.2.3:9000/bucket/secret/key?X-Amz-Signature=hunter2 in 1ms"
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (GenericError(f"{URL} - status code: 404: <Code>NoSuchBucket</Code>"), "there is no such bucket"),
        (
            GenericError(f"{URL} - status code: 403: <Code>ExpiredToken</Code>"),
            "the credentials have expired",
        ),
        (GenericError(f"{URL} - status code: 500: <Code>Own9</Code>"), "the object store answers Own9"),
        (
            GenericError(f"{URL} - status code: 502 Bad Gateway: <html>"),
            "the object store answers with status 502",
        ),
        (PermissionDeniedError(f"{URL} - status code: 403 Forbidden:"), "the credentials may not do this"),
        (GenericError("PUT http://169.254.169.254/latest/api/token"), "there are no credentials for it"),
        (
            GenericError(f"{URL} - HTTP error"),
            "the object store cannot be reached, or does not answer in time",
        ),
        (
            FileNotFoundError("Object at location a not found"),
            "the object store cannot be reached, or does not",
        ),
    ],
)
def test_a_refusal_is_told_in_a_few_words_without_addresses(error: Exception, told: str) -> None:
    reason = reason_of(error)
    assert reason.startswith(told)
    assert not {"hunter2", "10.1.2.3", "secret"} & set(reason.replace(":", " ").split())
    assert len(reason) < 100
