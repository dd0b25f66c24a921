"""What keys are found by: parts, plain letters, pairs of characters."""

from __future__ import annotations

import pytest

from app.words.forms import MOST_BYTES, Form, Forms, forms_of, without_accents


@pytest.mark.parametrize(
    ("key", "forms"),
    [
        ("Gate", Forms((Form(0, "gate", ("gate",)),), 1)),
        ("B52", Forms((Form(0, "b52"),), 1)),
        ("café", Forms((Form(0, "cafe", ("café", "cafe")),), 1)),
        ("３rd", Forms((Form(0, "3rd"),), 1)),
        ("of\ufb01ce", Forms((Form(0, "office", ("office",)),), 1)),
        ("soft\u00adened", Forms((Form(0, "softened", ("softened",)),), 1)),
        (
            "Canal.gates_2",
            Forms(
                (
                    Form(0, "canal.gates_2"),
                    Form(0, "canal", ("canal",)),
                    Form(1, "gates", ("gates",)),
                    Form(2, "2"),
                ),
                3,
            ),
        ),
        ("3.14", Forms((Form(0, "3.14"),), 1)),
        ("192.168.0.1", Forms((Form(0, "192.168.0.1"),), 1)),
        ("__init__", Forms((Form(0, "init", ("init",)),), 1)),
        ("two\U0001f600faces", Forms((Form(0, "two", ("two",)), Form(1, "faces", ("faces",))), 2)),
        ("北京", Forms((Form(0, "北京"), Form(0, "北")), 1)),
        ("京", Forms((Form(0, "京"),), 1)),
        ("___", Forms((), 0)),
        ("\u0301", Forms((), 0)),
        ("\U0001f600", Forms((), 0)),
    ],
)
def test_the_forms_of_a_key(key: str, forms: Forms) -> None:
    assert forms_of(key) == forms


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("x" * (MOST_BYTES + 1), []),
        ("x" * MOST_BYTES, [MOST_BYTES]),
        (f"{'x' * MOST_BYTES}.y", [MOST_BYTES, 1]),
    ],
)
def test_what_postgresql_could_not_keep_is_left_out(key: str, kept: list[int]) -> None:
    assert [len(form.text) for form in forms_of(key).forms] == kept


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain", "plain"),
        ("crème brûlée", "creme brulee"),
        ("cre\u0300me", "creme"),
        ("Việt tiếng", "Viet tieng"),
        ("łódź straße ærøskøbing", "lodz strasse aeroskobing"),
        ("άλφα", "αλφα"),
        ("йод ёж", "йод еж"),
        ("हिन्दी", "हिन्दी"),
        ("ガ", "ガ"),
        ("각", "각"),
    ],
)
def test_accents_that_people_leave_out_are_left_out(text: str, plain: str) -> None:
    assert without_accents(text) == plain
