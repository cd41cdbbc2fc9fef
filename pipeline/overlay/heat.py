"""Numbers per voxel as colour over the image: explanations, and where a model is unsure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from pipeline.overlay.tiles import Painter
from pipeline.palette import HEAT_COLORS, Rgb
from pipeline.results import ValueMap

#: how much of the image the highest value covers
_MOST: Final = 0.75


@dataclass(frozen=True)
class Heat:
    """Colours for one map: nothing for 0 and below, the last colour for its highest value."""

    shown: ValueMap

    @property
    def highest(self) -> float:
        """The value of the last colour; 0 where there is nothing to show."""
        return max(0.0, float(self.shown.values.max()))

    def has_much(self, index: int) -> bool:
        """Say whether a slice has at least half of the highest value somewhere."""
        return self.highest > 0 and float(self.shown.values[index].max()) >= self.highest / 2

    def most(self) -> int:
        """Return the slice with the highest value."""
        return int(self.shown.values.max(axis=(1, 2)).argmax())

    def legend(self) -> list[dict[str, Any]]:
        """Say which values three of the colours stand for."""
        unit = "" if self.shown.unit == "1" else f" {self.shown.unit}"
        return [
            {
                "label": f"{self.highest * share:.3g}{unit}",
                "color": _color(share),
                "kind": "segment",
            }
            for share in (0.25, 0.5, 1.0)
        ]

    def over(self, tile: Pictures.Image, index: int, painter: Painter) -> Pictures.Image:
        """Return a tile of slice ``index`` with the map laid over it."""
        if self.highest <= 0:
            return tile
        plane = np.ascontiguousarray(painter.display.slice_of(self.shown.values[index]))
        spread = Pictures.fromarray(plane.astype(np.float32)).resize(
            painter.size, Pictures.Resampling.BILINEAR
        )
        share = np.clip(np.asarray(spread) / self.highest, 0.0, 1.0)
        pixels = np.asarray(tile, np.float32)
        blended = pixels + _MOST * share[..., None] * (_colors(share) - pixels)
        return Pictures.fromarray(np.rint(blended).astype(np.uint8))


def _colors(share: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the colours (..., 3) of shares, 0 to 1, along the ramp."""
    stops = np.linspace(0.0, 1.0, len(HEAT_COLORS))
    ramp = np.array(HEAT_COLORS, np.float32)
    channels = [np.interp(share, stops, ramp[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _color(share: float) -> Rgb:
    red, green, blue = np.rint(_colors(np.array(share, np.float32))).astype(int).tolist()
    return red, green, blue
