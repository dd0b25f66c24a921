"""A bench replaces its own part of a page, and nothing else."""

from __future__ import annotations

import pytest

from bench.report import with_section

PAGE = "# Figures\n<!-- one -->\nold\n<!-- /one -->\nkept\n<!-- two -->\n<!-- /two -->\n"


def test_a_section_is_replaced_between_its_markers_as_often_as_one_likes() -> None:
    once = with_section(PAGE, "one", r"new \1")

    assert once == PAGE.replace("old", r"new \1")
    assert with_section(once, "one", "old") == PAGE


@pytest.mark.parametrize(
    "page",
    ["", "<!-- one -->", "<!-- /one --><!-- one -->", PAGE + PAGE],
    ids=["no", "half", "turned", "twice"],
)
def test_a_page_without_the_two_markers_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="<!-- one -->"):
        with_section(page, "one", "new")
