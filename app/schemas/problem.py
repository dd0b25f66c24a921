"""How every error looks on the wire: RFC 9457, with `code` for programs and `hint` for people."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class InvalidField(BaseModel):
    """One place in the request that is wrong."""

    pointer: str  # JSON pointer into the body, or the name of a parameter.
    detail: str


class Problem(BaseModel):
    """application/problem+json"""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    hint: str
    errors: list[InvalidField] | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "There is no document 0199c0de-7a11-7c4e-8a55-0242ac120002.",
                    "code": "document_not_found",
                    "retryable": False,
                    "hint": "Check the id; a deleted document is gone for good.",
                }
            ]
        }
    )
