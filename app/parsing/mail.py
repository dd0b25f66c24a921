"""Mail (EML): subject as title, a few headers, then the body; attachments are named, not read."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage, Message
from typing import BinaryIO

from app.errors import EncryptedFile
from app.parsing.encodings import decode
from app.parsing.html import append_html
from app.parsing.text_builder import TextBuilder

_SHOWN_HEADERS = ("From", "To", "Cc", "Date")
_ENCRYPTED_TYPES = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def parse(file: BinaryIO, builder: TextBuilder) -> None:
    message = email.message_from_bytes(file.read(), policy=email.policy.default)
    subject = _header(message, "Subject")
    builder.set_title(subject)
    builder.heading(subject, 1)
    fields = [f"{name}: {value}" for name in _SHOWN_HEADERS if (value := _header(message, name))]
    builder.paragraph("\n".join(fields))
    if message.get_content_type() in _ENCRYPTED_TYPES:
        raise EncryptedFile
    _append_body(message, builder)
    _note_attachments(message, builder)


def _header(message: Message, name: str) -> str:
    """One header on one line. The standard library's parser of headers raises on some broken ones.

    Among others RecursionError: it goes one level deeper with each bracket.
    """
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, IndexError, AttributeError, TypeError, LookupError, RecursionError):
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return " ".join(str(raw).split())


def _append_body(message: EmailMessage, builder: TextBuilder) -> None:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return
    payload = part.get_payload(decode=True)
    text, warning = decode(payload if isinstance(payload, bytes) else b"", part.get_content_charset())
    if warning is not None:
        builder.warn(warning)
    if part.get_content_type() == "text/html":
        append_html(text, builder)
    else:
        builder.paragraph(text)


def _note_attachments(message: EmailMessage, builder: TextBuilder) -> None:
    names = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    if names:
        builder.warn(f"Attachments were not read: {', '.join(names[:20])}.")
