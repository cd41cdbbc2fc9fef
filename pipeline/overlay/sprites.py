"""Tiles of one size in one picture, and the index that says what each of them shows."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image as Pictures

from pipeline.overlay.display import Display

COLUMNS: Final = 6
_QUALITY: Final = 80


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A file to look at, or the index that says what is in it."""

    name: str
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Sprite:
    """Tiles in scrolling order."""

    #: slices of the image they were chosen from
    slice_count: int
    display: Display
    #: what became black and white
    window: str
    legend: Sequence[dict[str, Any]]
    tiles: Sequence[Pictures.Image]
    #: of each tile its slice, from 1, the labels it shows and how many boxes
    described: Sequence[dict[str, Any]]

    def pictures(self, name: str) -> tuple[Picture, Picture]:
        """Return the picture, ``overlay-<name>.webp``, and its index, ``overlay-<name>.json``."""
        index = {
            "sprite": f"overlay-{name}.webp",
            "tile": self.tiles[0].size,
            "columns": min(COLUMNS, len(self.tiles)),
            "slice_count": self.slice_count,
            "plane": self.display.plane,
            "edges": self.display.edges,
            "window": self.window,
            "legend": self.legend,
            "tiles": self.described,
        }
        return (
            Picture(
                name=f"overlay-{name}.webp",
                media_type="image/webp",
                data=_encoded(self._sheet(), "WEBP", quality=_QUALITY, method=2),
            ),
            Picture(
                name=f"overlay-{name}.json",
                media_type="application/json",
                data=json.dumps(index, indent=1).encode(),
            ),
        )

    def exact(self, name: str) -> Picture:
        """Return the picture without loss, ``overlay-<name>.png``."""
        data = _encoded(self._sheet(), "PNG")
        return Picture(name=f"overlay-{name}.png", media_type="image/png", data=data)

    def _sheet(self) -> Pictures.Image:
        width, height = self.tiles[0].size
        columns = min(COLUMNS, len(self.tiles))
        rows = -(-len(self.tiles) // columns)
        sheet = Pictures.new("RGB", (columns * width, rows * height))
        for position, tile in enumerate(self.tiles):
            sheet.paste(tile, (position % columns * width, position // columns * height))
        return sheet


def _encoded(sheet: Pictures.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, form, **options)
    return buffer.getvalue()
