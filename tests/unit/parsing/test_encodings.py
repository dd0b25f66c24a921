from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parsing.encodings import Decoded, decode
from app.parsing.text_builder import clean

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
    assert decode(text.encode(encoding)).text == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [GERMAN, JAPANESE, "a"])
def test_a_byte_order_mark_decides(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == Decoded(text)


def test_big_endian_byte_order_marks_decide_too() -> None:
    assert decode(codecs.BOM_UTF16_BE + GERMAN.encode("utf-16-be")) == Decoded(GERMAN)
    assert decode(codecs.BOM_UTF32_BE + GERMAN.encode("utf-32-be")) == Decoded(GERMAN)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff")))
def test_utf8_is_never_taken_for_anything_else(text: str) -> None:
    assert decode(text.encode("utf-8")) == Decoded(text)


@given(st.binary(max_size=200))
def test_any_bytes_become_some_text(data: bytes) -> None:
    decode(data).text.encode("utf-8")


def test_a_declared_encoding_is_used_where_it_fits() -> None:
    assert decode(RUSSIAN.encode("iso8859_5"), "iso-8859-5") == Decoded(RUSSIAN)


@pytest.mark.parametrize("declared", ["ascii", "klingon", "hex", "utf-16-nonsense", ""])
def test_a_wrong_declaration_does_no_harm(declared: str) -> None:
    assert decode(GERMAN.encode("utf-8"), declared) == Decoded(GERMAN)


def test_latin1_declared_means_windows_1252() -> None:
    assert decode("“quoted” – €".encode("cp1252"), "iso-8859-1") == Decoded("“quoted” – €")


ONE_STRAY = "It is UTF-8 but for 1 byte, read as windows-1252 or, where that has no character, as \ufffd."


@pytest.mark.parametrize(
    ("utf8", "strays"),
    [
        ("Zürich,Größe\n" * 30, "Köln,x\n"),
        (f"{GERMAN}\n" * 100, "Straße\n"),
        ("one — two\n" * 50, "it’s\n"),
        ("12\u00a0%\n", "7\u00a0%\n"),
        (f"{RUSSIAN}\n", "it’s"),
        (f"{CHINESE}\n", "naïve"),
    ],
)
@pytest.mark.parametrize("strays_first", [True, False])
def test_a_stray_byte_in_utf8_harms_nothing_else(utf8: str, strays: str, strays_first: bool) -> None:
    pieces = [(utf8, "utf-8"), (strays, "cp1252")]
    pieces = pieces[::-1] if strays_first else pieces
    data = b"".join(text.encode(encoding) for text, encoding in pieces)
    assert decode(data) == Decoded("".join(text for text, _ in pieces), ONE_STRAY)


def test_strays_that_are_no_character_of_windows_1252_are_lost_one_by_one() -> None:
    data = f"{RUSSIAN} ".encode() * 3
    assert decode(data + b"\x81 end") == Decoded(f"{RUSSIAN} " * 3 + "\ufffd end", ONE_STRAY)


def test_a_character_of_utf8_that_was_cut_is_one_that_is_lost() -> None:
    text, warning = decode(f"{CHINESE}\n".encode() + "文".encode()[:2] + b"\nnext")
    assert text == f"{CHINESE}\n\ufffd\nnext"
    assert warning is not None
    assert "but for 2 bytes" in warning


def test_strays_behind_a_byte_order_mark_are_told_too() -> None:
    assert decode(codecs.BOM_UTF8 + b"K\xf6ln") == Decoded("Köln", ONE_STRAY)
    assert decode(codecs.BOM_UTF8 + "Köln".encode()) == Decoded("Köln")


def test_strays_are_counted_across_the_blocks_that_are_counted_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.parsing.encodings._BLOCK_BYTES", 3)
    assert decode(CHINESE.encode() + b" na\xefve") == Decoded(f"{CHINESE} naïve", ONE_STRAY)


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (GERMAN, "cp1252", "windows-1252"),
        (CZECH, "cp1250", "windows-1250"),
        ("Árvíztűrő tükörfúrógép, őrült bűvölő", "iso8859_2", "windows-1250"),
        (RUSSIAN, "koi8_r", "koi8-r"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (JAPANESE, "shift_jis", "cp932"),
        (CHINESE, "gb18030", "gb18030"),
        ("這是一個中文文本，用來測試編碼檢測。", "big5", "big5"),
        (KOREAN, "euc_kr", "cp949"),
    ],
)
@pytest.mark.parametrize("times", [1, 50])
def test_an_encoding_that_was_guessed_is_told(text: str, encoding: str, name: str, times: int) -> None:
    text = f"{text}\n" * times
    warning = f"It is not UTF-8 and was read as {name}, which is a guess."
    assert decode(text.encode(encoding)) == Decoded(text, warning)


def test_an_encoding_is_guessed_by_where_it_shows() -> None:
    """All before is ASCII, and more than is looked at."""
    text = "plain words\n" * 20_000 + "Köln\n" + "plain words\n" * 20_000
    assert decode(text.encode("cp1252")).text == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox\njumps over 12 lazy dogs\n",
        f"{GERMAN}\n",
        f"{RUSSIAN}\n",
        f"{CZECH}\n",
        f"{GREEK}\n",
        f"{CHINESE}\n第二行，一共一百个字，一一说明。\n",
        f"{JAPANESE}\nひらがなだけのぎょう\n",
        f"{KOREAN}\n",
        "नमस्ते दुनिया, यह एक पाठ है\n",
        "שלום עולם, זה טקסט\n",
    ],
)
def test_utf16_needs_no_mark(text: str, encoding: str) -> None:
    for times in (1, 3, 3000):
        assert decode((text * times).encode(encoding)) == Decoded(text * times)


def test_a_pair_that_the_end_of_the_sample_cuts_is_no_evidence_against_utf16() -> None:
    text = "a" + "😀\n" * 20_000
    assert decode(text.encode("utf-16-le")).text == text


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        "line one\nline two\0\nline three\n" * 20,
        "Grüße aus Köln ok\0\nGrüße aus Bonn oje\0\n" * 20,
        "abcde\0" * 50,
    ],
)
def test_stray_zeros_on_one_side_make_no_utf16(text: str, encoding: str) -> None:
    decoded = decode(text.encode(encoding)).text
    assert decoded == text
    assert clean(decoded) == text.replace("\0", "")
