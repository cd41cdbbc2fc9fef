"""One colour per segment number, the same in pictures and in DICOM objects.

Okabe and Ito's set, which people with colour-blindness can tell apart (Wong, Nature Methods 2011).
"""

from __future__ import annotations

from typing import Final, TypeAlias

Rgb: TypeAlias = tuple[int, int, int]

SEGMENT_COLORS: Final[tuple[Rgb, ...]] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
DETECTION_COLOR: Final[Rgb] = (255, 214, 10)
#: from little to much, each lighter than the one before, so that the order shows in grey too
HEAT_COLORS: Final[tuple[Rgb, ...]] = (
    (60, 10, 110),
    (150, 35, 120),
    (225, 75, 60),
    (250, 160, 30),
    (252, 250, 160),
)


def color_of(number: int) -> Rgb:
    """Return the colour of segment ``number`` (from 1); colours repeat after seven."""
    return SEGMENT_COLORS[(number - 1) % len(SEGMENT_COLORS)]
