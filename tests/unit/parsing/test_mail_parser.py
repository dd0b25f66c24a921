from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage

import pytest

from app.errors import EncryptedFile
from app.parsing.parsed_document import Heading, ParsedDocument

Read = Callable[..., ParsedDocument]


def mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ann <ann@example.org>"
    message["To"] = "bob@example.org"
    for name, value in headers.items():
        message[name] = value
    return message


def test_a_mail_begins_with_its_subject_and_headers(read: Read) -> None:
    message = mail(Subject="Grüße aus Köln")
    message.set_content("Hallo Bob,\n\nschöne Grüße.")
    document = read(message.as_bytes(), "a.eml")
    assert document.title == "Grüße aus Köln"
    assert document.headings == (Heading(1, "Grüße aus Köln", 0),)
    assert document.text == (
        "Grüße aus Köln\n\nFrom: Ann <ann@example.org>\nTo: bob@example.org\n\nHallo Bob,\n\nschöne Grüße."
    )
    assert document.media_type == "message/rfc822"


def test_plain_text_is_preferred_to_html(read: Read) -> None:
    message = mail(Subject="s")
    message.set_content("the plain one")
    message.add_alternative("<p>the html one</p>", subtype="html")
    text = read(message.as_bytes()).text
    assert "the plain one" in text
    assert "html" not in text


def test_html_alone_is_read_as_html(read: Read) -> None:
    message = mail(Subject="s")
    message.set_content("<p>one</p><script>x</script><p>two &amp; three</p>", subtype="html")
    assert read(message.as_bytes()).text.endswith("one\n\ntwo & three")


def test_attachments_are_named_in_a_warning(read: Read) -> None:
    message = mail(Subject="s")
    message.set_content("see attached")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="bill.pdf")
    assert read(message.as_bytes()).warnings == ("Attachments were not read: bill.pdf.",)


def test_a_body_in_an_unknown_or_wrong_charset_is_read_all_the_same(read: Read) -> None:
    for charset in ("klingon", "ascii"):
        data = (
            f"From: a@b.c\nSubject: s\nContent-Type: text/plain; charset={charset}\n\nschöne Grüße".encode()
        )
        assert read(data).text.endswith("schöne Grüße")


def test_a_mail_without_body_or_subject_still_has_its_headers(read: Read) -> None:
    document = read(b"From: a@b.c\nMessage-ID: <1@x>\n\n")
    assert document.text == "From: a@b.c"
    assert document.title is None


def test_headers_that_break_the_parser_are_shown_raw(read: Read) -> None:
    document = read(b"From: =?utf-8?q?=\nTo: <@\nMessage-ID: <1@x>\nDate: never\nSubject: [\n\nbody")
    assert document.text.endswith("body")


def test_an_encrypted_mail_is_refused_as_such(read: Read) -> None:
    with pytest.raises(EncryptedFile):
        read(b"From: a@b.c\nSubject: s\nMIME-Version: 1.0\nContent-Type: application/pkcs7-mime\n\nMIAG")


def test_a_header_of_brackets_costs_itself_and_not_the_mail(read: Read) -> None:
    document = read(f"From: a@b.c\nReceived: x\nTo: {'<(' * 5_000}\n\nthe words")
    assert document.text.endswith("the words")
