from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parsing.encodings import decode

GERMAN = "Die Straße führt über die Brücke nach Köln – schön."
FRENCH = "Café très élégant. Ça va bien, merci."
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy"
POLISH = "Zażółć gęślą jaźń, proszę bardzo, łódź i źdźbło"
RUSSIAN = "Привет, мир! Это проверка кодировки текста."
JAPANESE = "これは日本語のテキストです。文字コードの判定を試します。"
CHINESE = "这是一个中文文本，用来测试编码检测。"
KOREAN = "안녕하세요. 이것은 한국어 텍스트입니다."
GREEK = "Καλημέρα κόσμε, αυτό είναι ένα κείμενο"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"),
        (FRENCH, "latin-1"),
        ("Café", "latin-1"),
        ("señor niño mañana", "latin-1"),
        (CZECH, "cp1250"),
        (POLISH, "cp1250"),
        (RUSSIAN, "koi8_r"),
        (RUSSIAN, "cp1251"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (CHINESE, "gb18030"),
        ("這是一個中文文本，用來測試編碼檢測。", "big5"),
        (KOREAN, "euc_kr"),
        (GREEK, "cp1253"),
        ("Türkçe karakterler şöyle: ğüşıöç İstanbul", "cp1254"),
        ("plain words, one after another", "utf-16-le"),
        ("plain words, one after another", "utf-16-be"),
        (GERMAN, "utf-16-le"),
    ],
)
def test_text_in_old_encodings_is_told_by_looking_at_it(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [GERMAN, JAPANESE, "a"])
def test_a_byte_order_mark_decides(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_big_endian_byte_order_marks_decide_too() -> None:
    assert decode(codecs.BOM_UTF16_BE + GERMAN.encode("utf-16-be")) == GERMAN
    assert decode(codecs.BOM_UTF32_BE + GERMAN.encode("utf-32-be")) == GERMAN


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff")))
def test_utf8_is_never_taken_for_anything_else(text: str) -> None:
    assert decode(text.encode("utf-8")) == text


@given(st.binary(max_size=200))
def test_any_bytes_become_some_text(data: bytes) -> None:
    decode(data).encode("utf-8")


def test_a_declared_encoding_is_used_where_it_fits() -> None:
    assert decode(RUSSIAN.encode("iso8859_5"), "iso-8859-5") == RUSSIAN


@pytest.mark.parametrize("declared", ["ascii", "klingon", "hex", "utf-16-nonsense", ""])
def test_a_wrong_declaration_does_no_harm(declared: str) -> None:
    assert decode(GERMAN.encode("utf-8"), declared) == GERMAN


def test_latin1_declared_means_windows_1252() -> None:
    assert decode("“quoted” – €".encode("cp1252"), "iso-8859-1") == "“quoted” – €"


def test_a_broken_byte_in_utf8_costs_one_character() -> None:
    assert decode(f"{RUSSIAN} ".encode() * 3 + b"\xff" + b" end") == f"{RUSSIAN} " * 3 + "\ufffd end"
