"""Entity tags, and the conditions that requests make of them (RFC 9110, section 13)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')

#: For the OpenAPI document.
ETAG = {"ETag": {"description": "Changes whenever the answer does.", "schema": {"type": "string"}}}

IfNoneMatch = Annotated[
    str | None, Header(description="An `ETag` that you have: 304 and no body while it is still right.")
]
IfMatch = Annotated[
    str | None, Header(description="The `ETag` that you have seen: 412 when the document is another by now.")
]


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the client has this already. The weak comparison: proxies mark what they have compressed."""
    return if_none_match is not None and (
        if_none_match.strip() == "*" or any(tag == etag for _, tag in TAG.findall(if_none_match))
    )


def is_wanted(etag: str, if_match: str | None) -> bool:
    """Whether this is what the client means to change. The strong comparison."""
    return (
        if_match is None
        or if_match.strip() == "*"
        or any(tag == etag and not weak for weak, tag in TAG.findall(if_match))
    )
