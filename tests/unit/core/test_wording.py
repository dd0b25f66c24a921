"""Values as people read them."""

from __future__ import annotations

from app.core.wording import LONGEST_TITLE, trail


def test_headings_stand_in_a_row_and_long_ones_are_cut() -> None:
    assert trail([]) == ""
    assert trail(["Book"]) == "Book"
    assert trail(["Book", "Gate"]) == "Book › Gate"
    whole = "x" * LONGEST_TITLE
    assert trail([whole]) == whole
    cut = "x" * (LONGEST_TITLE - 2) + "…"
    assert trail([f"{cut[:-1]} | y", "Gate"]) == f"{cut} › Gate"
