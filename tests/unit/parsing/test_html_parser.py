from __future__ import annotations

from collections.abc import Callable

import pytest

from app.errors import NoText
from app.parsing.parsed_document import ParsedDocument

Read = Callable[..., ParsedDocument]


def test_a_page_becomes_what_a_reader_sees(read: Read) -> None:
    document = read(
        "<!DOCTYPE html><html><head><title> The  &amp; page </title><style>p{}</style></head><body>"
        "<nav>Home</nav><script>x()</script><template>t</template><noscript>n</noscript><!-- c -->"
        "<h1>Main <em>thing</em></h1><p>One\n two<br>three</p><div>four<span> five</span></div>"
        "<p hidden>secret</p><ul><li>a</li><li><p>b</p></li></ul><p>end</p>"
        "<svg><text>s</text></svg></body></html>",
        "a.html",
    )
    assert document.title == "The & page"
    assert document.text == "Main thing\n\nOne two\nthree\n\nfour five\n\n- a\n- b\n\nend"
    assert [(heading.level, heading.title, heading.char_start) for heading in document.headings] == [
        (1, "Main thing", 0)
    ]


def test_tables_become_rows(read: Read) -> None:
    document = read(
        "<p>before</p><table><tr><th>Name</th><th>Age</th></tr><tr><td><p>Ann</p><p>B.</p></td><td>5</td></tr>"
        "</table><p>after</p>",
        "a.html",
    )
    assert document.text == "before\n\nName | Age\nAnn B. | 5\n\nafter"


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ("<tr><td rowspan=2>left<td>r1<tr><td>r2<tr><td>x<td>r3", "left | r1\n | r2\nx | r3"),
        ("<tr><td>a<td rowspan=3>b<td>c<tr><td>d<td>e<tr><td>f", "a | b | c\nd |  | e\nf"),
        ("<tr><td rowspan=2>a<td rowspan=3>b<td>c<tr><td>d<tr><td>e<td>f", "a | b | c\n |  | d\ne |  | f"),
        ("<tr><td rowspan=2 colspan=2>a<td>b<tr><td>c", "a | b\n | c"),
        ("<tr><td colspan=2>a<td rowspan=2>b<td>c<tr><td>d<td>e<td>f", "a | b | c\nd | e |  | f"),
        ("<thead><tr><th rowspan=9>a<th>b<tbody><tr><td>c<td>d", "a | b\nc | d"),
        ("<tr><td rowspan=0>a<td>b<tr><td>c<tr><td>d<tbody><tr><td>e<td>f", "a | b\n | c\n | d\ne | f"),
        ("<tr><td rowspan=x>a<td>b<tr><td rowspan>c<td>d<tr><td rowspan=-2>e", "a | b\nc | d\ne"),
        ("<tr><td rowspan=100000>a<td>b<tr><td>c", "a | b\n | c"),
        (f"<tr><td rowspan={'9' * 5000} colspan={'9' * 5000}>a<td>b<tr><td>c", "a | b\n | c"),
    ],
)
def test_a_cell_that_spans_rows_keeps_those_below_in_their_columns(read: Read, rows: str, shown: str) -> None:
    assert read(f"<table>{rows}</table><table><tr><td>next</table>", "a.html").text == f"{shown}\n\nnext"


def test_a_table_within_a_cell_knows_nothing_of_the_spans_around_it(read: Read) -> None:
    page = "<table><tr><td rowspan=3>a<td><table><tr><td>b<td>c</table><tr><td>d</table>"
    assert read(page, "a.html").text == "a\n\nb | c\nd"


def test_thousands_of_spans_do_not_multiply_a_page(read: Read) -> None:
    page = f"<table><tr>{'<td rowspan=65534>' * 5_000}{'<tr><td>x' * 2_000}</table>"
    assert len(read(page, "a.html").text) < 100 * len(page)


def test_a_table_for_layout_does_not_swallow_the_table_within(read: Read) -> None:
    document = read(
        "<table><tr><td>menu<table><tr><td>a</td><td>b</td></tr></table>tail</td></tr></table>", "a.html"
    )
    assert document.text.split() == ["menu", "a", "|", "b", "tail"]


def test_preformatted_text_keeps_its_lines(read: Read) -> None:
    assert read("<p>x</p><pre>a\n  b\n\n\n\nc</pre>", "a.html").text == "x\n\na\n  b\n\n\n\nc"


def test_without_a_title_the_first_heading_is_one(read: Read) -> None:
    assert read("<h1>Top</h1><p>x</p>", "a.html").title == "Top"
    assert read("<h2>Sub</h2><p>x</p>", "a.html").title is None


@pytest.mark.parametrize(
    ("meta", "encoding"),
    [
        ("<meta charset=shift_jis>", "shift_jis"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=EUC-JP">', "euc_jp"),
        ('<meta charset="utf-16">', "utf-8"),
        ("", "utf-16"),
    ],
)
def test_the_meta_charset_is_heeded(read: Read, meta: str, encoding: str) -> None:
    assert (
        read(f"<html><head>{meta}</head><p>日本語 テキスト".encode(encoding), "a.html").text
        == "日本語 テキスト"
    )


def test_a_page_without_words_has_no_text(read: Read) -> None:
    with pytest.raises(NoText):
        read("<html><body><script>x</script><img src=a></body></html>", "a.html")


def test_nesting_a_hundred_thousand_deep_is_read(read: Read) -> None:
    assert read("<html>" + "<b>" * 100_000 + "deep", "a.html").text == "deep"


def test_the_words_for_pictures_are_kept(read: Read) -> None:
    assert read('<p>See<img alt="a cat">here</p>', "a.html").text == "See a cat here"
