"""Sheets of small pictures with a line of text below each, for ``bench.kinds``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from pipeline.overlay.display import display_of
from pipeline.overlay.heat import Heat
from pipeline.overlay.slices import plane_shape, values_of
from pipeline.overlay.tiles import Painter
from pipeline.overlay.windows import Window, window_of
from pipeline.results import Detection, Prediction, ValueMap
from pipeline.volume import Input

#: (width, height) of a picture on a sheet, and the height of its text, screen pixels
TILE: Final = (176, 176)
_TEXT: Final = 18
_GAP: Final = 4
_FONT: Final = ImageFont.load_default(11)
#: of a file, bytes; and the qualities that are tried
MOST_BYTES: Final = 60_000
_QUALITIES: Final = (80, 70, 60, 50, 40)


@dataclass(frozen=True)
class Tile:
    """A picture and what is written below it."""

    picture: Pictures.Image
    caption: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One slice of an image, painted by what paints reports."""

    image: Input
    index: int = 0
    #: None = what a report would choose
    window: Window | None = None
    #: (left, top, right, bottom) as shares of the slice
    part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def plain(self, caption: str) -> Tile:
        """Show the image alone."""
        return self._tile(self._paint(), caption)

    def other(self, plane: NDArray[Any], caption: str) -> Tile:
        """Show other values (rows, columns), of any grid that covers the slice, in its window."""
        return self._tile(self._painter.paint(plane, None, self.index), caption)

    def labelled(self, labels: NDArray[np.uint8], caption: str) -> Tile:
        """Show a label map (slices, rows, columns) over the image."""
        plane = labels[self.index]
        return self._tile(self._painter.paint(self._values, plane, self.index), caption)

    def boxed(self, detections: Sequence[Detection], caption: str) -> Tile:
        """Show boxes, with their scores, over the image."""
        painter = self._painter_of(tuple(detections))
        return self._tile(painter.paint(self._values, None, self.index), caption)

    def heated(self, shown: ValueMap, caption: str) -> Tile:
        """Show a map of numbers over the image."""
        tile = Heat(shown).over(self._paint(), self.index, self._painter)
        return self._tile(tile, caption)

    @cached_property
    def _values(self) -> NDArray[Any]:
        return values_of(self.image, self.index)

    @cached_property
    def _painter(self) -> Painter:
        return self._painter_of(())

    def _painter_of(self, detections: tuple[Detection, ...]) -> Painter:
        display, shape = display_of(self.image), plane_shape(self.image)
        left, top, right, bottom = self.part
        least = min(right - left, bottom - top)
        return Painter(
            display=display,
            window=self.window or window_of(self.image, Prediction(findings=())),
            shape=shape,
            size=Painter.size_for(display, shape, round(max(TILE) / least)),
            detections=detections,
        )

    def _paint(self) -> Pictures.Image:
        return self._painter.paint(self._values, None, self.index)

    def _tile(self, painted: Pictures.Image, caption: str) -> Tile:
        width, height = painted.size
        shares = zip(self.part, (width, height, width, height), strict=True)
        left, top, right, bottom = (round(share * side) for share, side in shares)
        return Tile(painted.crop((left, top, right, bottom)), caption)


def write(path: Path, rows: Sequence[Sequence[Tile]]) -> int:
    """Write rows of tiles as WebP, small enough; return the bytes.

    Raises:
        ValueError: no quality makes it small enough.

    """
    across, down = TILE[0] + _GAP, TILE[1] + _TEXT + _GAP
    size = (max(map(len, rows)) * across - _GAP, len(rows) * down - _GAP)
    sheet = Pictures.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            left, top = column * across, row * down
            picture = tile.picture.copy()
            picture.thumbnail(TILE, Pictures.Resampling.LANCZOS)
            sheet.paste("black", (left, top, left + TILE[0], top + TILE[1]))
            inset = [(whole - part) // 2 for whole, part in zip(TILE, picture.size, strict=True)]
            sheet.paste(picture, (left + inset[0], top + inset[1]))
            draw.text((left + 1, top + TILE[1] + 2), tile.caption, fill="black", font=_FONT)
    for quality in _QUALITIES:
        sheet.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size <= MOST_BYTES:
            return path.stat().st_size
    raise ValueError(f"{path.name} is too large at any quality")
