from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import errors
from app.parsing import wire
from app.parsing.parsed_document import Heading, Page, ParsedDocument, Table

LIMITS = wire.Limits(timeout_s=5, memory_mb=100, max_text_chars=1000)
DOCUMENT = {
    "media_type": "text/plain",
    "title": None,
    "pages": [],
    "headings": [],
    "warnings": [],
    "tired": False,
}


def received(frame: bytes) -> wire.Reply:
    header_bytes, text_bytes = wire.check_sizes(frame[: wire.SIZES.size], LIMITS)
    body = frame[wire.SIZES.size :]
    assert len(body) == header_bytes + text_bytes
    return wire.decode_reply(body[:header_bytes], body[header_bytes:], LIMITS)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
numbers = st.integers(0, 10**9)
documents = st.builds(
    ParsedDocument,
    text=words,
    media_type=words,
    title=st.none() | words,
    pages=st.lists(st.builds(Page, numbers, numbers, numbers)).map(tuple),
    headings=st.lists(st.builds(Heading, numbers, words, numbers)).map(tuple),
    tables=st.lists(st.builds(Table, words, numbers, numbers)).map(tuple),
    warnings=st.lists(words).map(tuple),
)


@given(documents, st.booleans())
def test_a_document_arrives_as_it_was_sent(document: ParsedDocument, tired: bool) -> None:
    assert received(wire.encode_document(document, tired=tired)) == wire.Reply(document=document, tired=tired)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnsupportedMediaType("image/png"),
        errors.EmptyFile(),
        errors.NoText("None of it."),
        errors.NoText("None of it.", media_type="application/pdf"),
        errors.EncryptedFile(),
        errors.CorruptFile("Because."),
        errors.TextTooLong(1000),
        errors.OutOfMemory(100),
    ],
)
def test_an_error_arrives_with_its_data(error: errors.ServiceError) -> None:
    reply = received(wire.encode_error(error.code, wire.data_of(error), "detail"))
    assert type(reply.error) is type(error)
    assert str(reply.error) == str(error)
    assert vars(reply.error) == vars(error)
    assert reply.detail == "detail"


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("", b""),
        ("[]", b""),
        ("{}", b""),
        ("[" * 100_000, b""),
        (json.dumps({"error": "no_text", "data": "none", "detail": "", "tired": False}), b""),
        (json.dumps({"error": "worker_lost", "data": "", "detail": "", "tired": False}), b""),
        (json.dumps(DOCUMENT), b"\xff"),
        (json.dumps(DOCUMENT), b"a\0b"),
        (json.dumps(DOCUMENT), b"\xed\xa0\x80"),
        (json.dumps(DOCUMENT | {"title": 5}), b"x"),
        (json.dumps(DOCUMENT | {"title": "\ud800"}), b"x"),
        (json.dumps(DOCUMENT | {"title": "\0"}), b"x"),
        (json.dumps(DOCUMENT | {"pages": [[1, 2]]}), b"x"),
        (json.dumps(DOCUMENT | {"pages": [[1, 2, "3"]]}), b"x"),
        (json.dumps(DOCUMENT | {"pages": [[1, -2, 3]]}), b"x"),
        (json.dumps(DOCUMENT | {"pages": [[True, 2, 3]]}), b"x"),
        (json.dumps(DOCUMENT | {"headings": 7}), b"x"),
    ],
)
def test_nonsense_from_a_child_is_refused(header: str, text: bytes) -> None:
    with pytest.raises(wire.Nonsense):
        wire.decode_reply(header.encode(), text, LIMITS)


def test_a_reply_longer_than_any_document_is_refused_before_it_is_read() -> None:
    with pytest.raises(wire.Nonsense):
        wire.check_sizes(wire.SIZES.pack(10, 4001), LIMITS)
    with pytest.raises(wire.Nonsense):
        wire.check_sizes(wire.SIZES.pack(wire.MAX_HEADER_BYTES + 1, 0), LIMITS)
