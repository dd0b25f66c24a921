"""How a bench tells its figures: bars, JSON, and a section of docs/performance.md with a picture."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
PERFORMANCE = DOCS / "performance.md"

CELLS = 32
WIDTH, ROW, TOP, LEFT, RIGHT = 720, 26, 40, 250, 120
OURS, THEIRS = "#2563a8", "#b8bec7"


class Bar(NamedTuple):
    """One side's runs, in one unit."""

    label: str
    values: Sequence[float]
    is_ours: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """The least and the most, as a person reads them."""
        return f"{figure(min(self.values))} to {figure(max(self.values))}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """What all of these benches can be told."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--full", action="store_true", help="more of everything; takes longer")
    arguments.add_argument("--json", type=Path, metavar="PATH", help="write all runs to this file")
    arguments.add_argument("--write", action="store_true", help=f"put the result into {PERFORMANCE.name}")
    arguments.add_argument(
        "--label", default="", metavar="NAME", help="with --write: into the section that has this name, too"
    )
    return arguments


def publish(
    asked: argparse.Namespace, name: str, *, text: str, markdown: str, figures: Any, pictures: dict[str, str]
) -> None:
    """Print the text, and write what was asked for.

    Args:
        name: Of the markers in docs/performance.md.
        pictures: SVG by the file's name below docs/images; the markdown refers to them.
    """
    print(text)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")
    if asked.write:
        for file_name, svg in pictures.items():
            own = labelled(file_name, asked.label)
            (DOCS / "images" / own).write_text(svg)
            markdown = markdown.replace(f"images/{file_name}", f"images/{own}")
        try:
            section = f"{name} {asked.label}".strip()
            PERFORMANCE.write_text(with_section(PERFORMANCE.read_text(), section, markdown))
        except ValueError as error:
            sys.exit(f"{PERFORMANCE}: {error}")


def labelled(file_name: str, label: str) -> str:
    """The name of a picture that stands beside the same one of another machine."""
    stem, dot, ending = file_name.rpartition(".")
    return f"{stem}-{label}{dot}{ending}" if label else file_name


def with_section(page: str, name: str, section: str) -> str:
    """The page with another text between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: It does not have each of the two markers once, in this order.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"there has to be one {begin} and then one {end}")
    return re.sub(
        f"{re.escape(begin)}.*{re.escape(end)}",
        lambda _: f"{begin}\n{section.strip()}\n{end}",
        page,
        flags=re.DOTALL,
    )


def figure(value: float) -> str:
    """Three digits that count, and no more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def text_bars(title: str, bars: Sequence[Bar]) -> str:
    """For a terminal."""
    longest = max(bar.median for bar in bars)
    width = max(len(bar.label) for bar in bars)
    lines = [title]
    for bar in bars:
        cells = "█" * max(round(bar.median / longest * CELLS), 1)
        lines.append(f"  {bar.label:{width}}  {cells:{CELLS}}  {figure(bar.median):>7}  ({bar.spread})")
    return "\n".join(lines)


def svg_bars(title: str, bars: Sequence[Bar]) -> str:
    """For a page: bars of the medians, with a thin line from the least to the most."""
    longest = max(max(bar.values) for bar in bars)
    height = TOP + ROW * len(bars) + 12

    def x(value: float) -> float:
        return LEFT + value / longest * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="13" fill="#333">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="14">{escape(title)}</text>',
    ]
    for number, bar in enumerate(bars):
        y = TOP + ROW * number
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(bar.label)}</text>'
            f'<rect x="{LEFT}" y="{y + 2}" width="{x(bar.median) - LEFT:.1f}" height="{ROW - 8}"'
            f' fill="{OURS if bar.is_ours else THEIRS}"/>'
            f'<line x1="{x(min(bar.values)):.1f}" x2="{x(max(bar.values)):.1f}" y1="{y + 11}" y2="{y + 11}"'
            ' stroke="#333"/>'
            f'<text x="{x(max(bar.values)) + 8:.1f}" y="{y + 15}">{figure(bar.median)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
