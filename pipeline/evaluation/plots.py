"""Curves as SVG takes them, in a square with its scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.evaluation.curves import Points

#: side of the square that a curve is drawn in, and what is left for its scales
SIDE: Final = 220
MARGIN: Final = 56


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One curve: ``points`` as its polyline takes them, and what stands at the ends of its axes."""

    title: str
    across: str
    up: str
    points: str
    left: str = "0"
    right: str
    bottom: str = "0"
    top: str = "1"
    has_diagonal: bool = False


def share(
    title: str, names: tuple[str, str], points: Points, most: float, *, has_diagonal: bool = False
) -> Iterator[Plot]:
    """Yield the curve of a share (0 to 1) from 0 as far as ``most``; without points, nothing."""
    inside = [(x, y) for x, y in points if x <= most]
    if not inside:
        return
    if len(inside) < len(points):
        inside.append((most, inside[-1][1]))
    yield Plot(
        title=title,
        across=names[0],
        up=names[1],
        points=_placed([(x / most, y) for x, y in inside]),
        right=f"{most:g}",
        has_diagonal=has_diagonal,
    )


def courses(by_epoch: Mapping[str, Points]) -> Iterator[Plot]:
    """Yield a curve over the epochs for each name, on a scale of its own from least to most."""
    for name, points in by_epoch.items():
        words = name.replace("_", " ")
        if len(points) < 2:
            continue
        first, last = points[0][0], points[-1][0]
        least, most = (choose(y for _, y in points) for choose in (min, max))
        span = most - least or 1.0
        placed = [((x - first) / (last - first), (y - least) / span) for x, y in points]
        yield Plot(
            title=words.capitalize(),
            across="epoch",
            up=words,
            points=_placed(placed),
            left=f"{first:g}",
            right=f"{last:g}",
            bottom=_short(least),
            top=_short(most),
        )


def _placed(points: Points) -> str:
    """Return points of the unit square as a polyline takes them; there y runs down."""
    return " ".join(f"{MARGIN + SIDE * x:.1f},{MARGIN / 2 + SIDE * (1 - y):.1f}" for x, y in points)


def _short(value: float) -> str:
    """Return a number as there is room for it beside the frame."""
    return f"{value:.3g}" if value == 0 or abs(value) >= 0.01 else f"{value:.1e}"
