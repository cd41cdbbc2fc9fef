"""One slice as a picture: grey values, segments in colour, boxes with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from pipeline.overlay.display import Display
from pipeline.overlay.windows import Window
from pipeline.palette import DETECTION_COLOR, color_of
from pipeline.results import Detection

_FILL: Final = 0.28


@dataclass(frozen=True, kw_only=True)
class Painter:
    """Paints tiles of one size. Nothing but image, segments, boxes and scores is burnt in."""

    display: Display
    window: Window
    #: (rows, columns) of a source slice
    shape: tuple[int, int]
    #: (width, height) of a tile in screen pixels
    size: tuple[int, int]
    detections: Sequence[Detection] = ()
    colors: NDArray[np.float32] = field(
        default_factory=lambda: np.array(
            [(0, 0, 0), *(color_of(number) for number in range(1, 256))], np.float32
        ),
        repr=False,
    )

    @classmethod
    def size_for(cls, display: Display, shape: tuple[int, int], limit: int) -> tuple[int, int]:
        """Return the largest (width, height) within ``limit`` in true proportions."""
        rows, columns = (shape[1], shape[0]) if display.is_transposed else shape
        height, width = rows * display.pixel[0], columns * display.pixel[1]
        scale = limit / max(height, width)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def paint(
        self, values: NDArray[Any], labels: NDArray[np.uint8] | None, index: int
    ) -> Pictures.Image:
        """Return the RGB tile of slice ``index``; ``values`` (rows, columns[, 3])."""
        grey = self.display.slice_of(self.window.apply(values))
        base = Pictures.fromarray(np.ascontiguousarray(grey)).convert("RGB")
        tile = base.resize(self.size, Pictures.Resampling.BICUBIC)
        if labels is not None and labels.any():
            tile = self._with_segments(tile, labels)
        self._draw_boxes(tile, index)
        return tile

    def _with_segments(self, tile: Pictures.Image, labels: NDArray[np.uint8]) -> Pictures.Image:
        """Blend every segment's colour over the tile and draw its outline."""
        shown = np.ascontiguousarray(self.display.slice_of(labels))
        small = np.asarray(Pictures.fromarray(shown).resize(self.size, Pictures.Resampling.NEAREST))
        pixels = np.asarray(tile, np.float32)
        share = np.where(_outline(small), np.float32(0.9), np.float32(_FILL))
        share = (share * (small > 0))[..., None]
        blended = pixels + share * (self.colors[small] - pixels)
        return Pictures.fromarray(np.rint(blended).astype(np.uint8))

    def _draw_boxes(self, tile: Pictures.Image, index: int) -> None:
        draw = ImageDraw.Draw(tile)
        width, height = self.size
        for detection in self.detections:
            s0, r0, c0, s1, r1, c1 = detection.index_box
            if not s0 <= index + 0.5 <= s1:
                continue
            left, top, right, bottom = self.display.box((r0, r1), (c0, c1), self.shape)
            corners = (
                max(0, round(left * width) - 1),
                max(0, round(top * height) - 1),
                min(width - 1, round(right * width)),
                min(height - 1, round(bottom * height)),
            )
            if corners[0] > corners[2] or corners[1] > corners[3]:
                continue
            draw.rectangle(corners, outline=DETECTION_COLOR)
            self._write_score(draw, detection.score, corners)

    def _write_score(
        self, draw: ImageDraw.ImageDraw, score: float, corners: tuple[int, int, int, int]
    ) -> None:
        """Write the score above the box, below it where there is no room, on a dark ground."""
        left, top, _, bottom = corners
        text = f"{score:.2f}"
        height = _FONT_SIZE + 3
        start = (left, top - height if top >= height else bottom + 1)
        width = draw.textlength(text, font=_FONT) + 4
        draw.rectangle((*start, start[0] + width, start[1] + height - 1), fill=(0, 0, 0))
        draw.text((start[0] + 2, start[1] + 1), text, fill=DETECTION_COLOR, font=_FONT)


_FONT_SIZE: Final = 11
_FONT: Final = ImageFont.load_default(_FONT_SIZE)


def _outline(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the pixels whose right, left, upper or lower neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    is_step = labels[1:] != labels[:-1]
    edge[1:] |= is_step
    edge[:-1] |= is_step
    is_step = labels[:, 1:] != labels[:, :-1]
    edge[:, 1:] |= is_step
    edge[:, :-1] |= is_step
    return edge
