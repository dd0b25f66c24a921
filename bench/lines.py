"""Lines over sizes, for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from bench.report import figure

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 300, 64, 48, 210, 44
COLOURS = ("#2563a8", "#1f8a5b", "#b3541e")


def svg_lines(title: str, sizes: Sequence[int], lines: Mapping[str, Sequence[float]]) -> str:
    """Values by size, from 0 upwards; the sizes by orders of magnitude.

    Args:
        lines: A value for each size, by the line's name; as many lines as there are colours.
    """
    top = max(max(values) for values in lines.values())
    first, last = math.log(sizes[0]), math.log(sizes[-1])

    def x(size: int) -> float:
        share = (math.log(size) - first) / (last - first) if last > first else 0
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="14">{escape(title)}</text>',
    ]
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{figure(value)}</text>'
        for value in (0, top / 2, top)
    ]
    parts += [
        f'<text x="{x(size):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{size:,}</text>' for size in sizes
    ]
    for (name, values), colour in zip(lines.items(), COLOURS, strict=False):
        points = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in zip(sizes, values, strict=True))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
            f'<text x="{WIDTH - RIGHT + 12}" y="{y(values[-1]) + 4:.1f}" fill="{colour}">{escape(name)}:'
            f" {figure(values[0])} to {figure(values[-1])}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
