"""Draws what `bench.search` printed: `python -m bench.growth RESULTS… > growth.svg`."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 340, 64, 40, 170, 48
MODES = {"keyword": "#2563a8", "vector": "#1f8a5b", "hybrid": "#b3541e"}
TICKS_MS = (10, 20, 50, 100, 200, 500, 1000)


def read(text: str) -> dict[str, list[tuple[int, float, float]]]:
    """`(chunks, p50, p95)` in ms with one client, by mode."""
    found: dict[str, list[tuple[int, float, float]]] = {mode: [] for mode in MODES}
    for part in re.split(r"^(?=[\d,]+ chunks, )", text, flags=re.MULTILINE)[1:]:
        chunks = int(part.split(" ")[0].replace(",", ""))
        for mode, points in found.items():
            if row := re.search(rf"^\| {mode} \| (\d+) / (\d+) \|", part, re.MULTILINE):
                points.append((chunks, float(row[1]), float(row[2])))
    return found


def draw(found: dict[str, list[tuple[int, float, float]]]) -> str:
    """Both axes by orders of magnitude: what grows with the chunks goes up as steeply as the grid."""
    all_chunks = sorted({chunks for points in found.values() for chunks, *_ in points})
    first, last = math.log(all_chunks[0]), math.log(all_chunks[-1])
    low, high = math.log(TICKS_MS[0]), math.log(TICKS_MS[-1])

    def x(chunks: float) -> float:
        return LEFT + (math.log(chunks) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(ms: float) -> float:
        return HEIGHT - BOTTOM - (math.log(ms) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        "<title>Latency of a search by the number of chunks</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="14">ms a search, one client (line: p50, dots: p95)</text>',
    ]
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(ms):.1f}" y2="{y(ms):.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y(ms) + 4:.1f}" text-anchor="end">{ms}</text>'
        for ms in TICKS_MS
    ]
    parts += [
        f'<text x="{x(chunks):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{chunks:,} chunks</text>'
        for chunks in all_chunks
    ]
    for number, (mode, points) in enumerate(found.items()):
        line = " ".join(f"{x(chunks):.1f},{y(p50):.1f}" for chunks, p50, _ in points)
        colour = MODES[mode]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{x(chunks):.1f}" cy="{y(p95):.1f}" r="4" fill="{colour}"/>'
            for chunks, _, p95 in points
        ]
        parts.append(
            f'<text x="{WIDTH - RIGHT + 16}" y="{TOP + 20 * number + 12}" fill="{colour}">{mode}:'
            f" {' / '.join(f'{p50:.0f}' for _, p50, _ in points)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(str(__doc__))
    sys.stdout.write(draw(read("\n".join(Path(name).read_text() for name in sys.argv[1:]))))


if __name__ == "__main__":
    main()
