"""Pictures to look through: evenly spaced slices and those with most findings, in one sprite."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from PIL import Image as Pictures

from pipeline.overlay.display import Display, display_of
from pipeline.overlay.slices import (
    detections_of,
    evenly,
    plane_shape,
    slice_count,
    telling,
    values_of,
)
from pipeline.overlay.tiles import Painter
from pipeline.overlay.windows import window_of
from pipeline.palette import DETECTION_COLOR, color_of
from pipeline.results import Detection, Prediction, Segment
from pipeline.volume import Input

#: evenly spaced slices of a volume, and the most that are shown with those of the findings
EVEN_SLICES: Final = 24
MOST_SLICES: Final = 36
#: longer side of a tile, screen pixels: of a stack, and of a lone picture
TILE: Final = 256
LONE_TILE: Final = 512
COLUMNS: Final = 6
_QUALITY: Final = 80


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A file to look at, or the index that says what is in it."""

    name: str
    media_type: str
    data: bytes = field(repr=False)


def render(image: Input, prediction: Prediction, *, name: str) -> tuple[Picture, Picture]:
    """Draw what ``prediction`` says into slices of ``image``.

    Slices are shown as acquired, turned to the radiological convention, in true proportions.
    Nothing about the patient is drawn or written. The same input gives the same bytes.

    Args:
        image: what was analysed.
        prediction: the label map and the boxes on the grid of ``image``.
        name: base of the file names; unique within a job.

    Returns:
        A WebP sprite, ``overlay-<name>.webp``, tiles in rows of at most six; and its index,
        ``overlay-<name>.json``: tile size, columns, plane, letters at the edges, window,
        legend, and per tile the slice number and which labels and boxes it shows.

    """
    display = display_of(image)
    window = window_of(image, prediction)
    detections = detections_of(prediction)
    count, shape = slice_count(image), plane_shape(image)
    indices = _choose(display, count, prediction)
    limit = LONE_TILE if len(indices) == 1 else TILE
    painter = Painter(
        display=display,
        window=window,
        shape=shape,
        size=Painter.size_for(display, shape, limit),
        detections=detections,
    )
    labels = prediction.label_map
    tiles = [
        painter.paint(values_of(image, index), None if labels is None else labels[index], index)
        for index in indices
    ]
    index_of_tiles: dict[str, Any] = {
        "sprite": f"overlay-{name}.webp",
        "tile": painter.size,
        "columns": min(COLUMNS, len(tiles)),
        "slice_count": count,
        "plane": display.plane,
        "edges": display.edges,
        "window": window.name,
        "legend": _legend(prediction),
        "tiles": [_describe(index, prediction, detections) for index in indices],
    }
    return (
        Picture(name=f"overlay-{name}.webp", media_type="image/webp", data=_sprite(tiles)),
        Picture(
            name=f"overlay-{name}.json",
            media_type="application/json",
            data=json.dumps(index_of_tiles, indent=1).encode(),
        ),
    )


def _choose(display: Display, count: int, prediction: Prediction) -> list[int]:
    """Return slice indices in scrolling order: evenly spaced, and where most was found."""
    chosen = set(evenly(count, EVEN_SLICES))
    for index in telling(prediction, count):
        if len(chosen) < MOST_SLICES:
            chosen.add(index)
    return [index for index in display.order(count) if index in chosen]


def _describe(index: int, prediction: Prediction, detections: list[Detection]) -> dict[str, Any]:
    labels = prediction.label_map
    present = set() if labels is None else set(np.unique(labels[index]).tolist()) - {0}
    return {
        "slice": index + 1,
        "segments": [
            finding.label
            for finding in prediction.findings
            if isinstance(finding, Segment) and finding.number in present
        ],
        "boxes": sum(bool(d.index_box[0] <= index + 0.5 <= d.index_box[3]) for d in detections),
    }


def _legend(prediction: Prediction) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"label": finding.label, "color": color_of(finding.number), "kind": "segment"}
        for finding in prediction.findings
        if isinstance(finding, Segment)
    ]
    labels = dict.fromkeys(f.label for f in prediction.findings if isinstance(f, Detection))
    entries += [{"label": label, "color": DETECTION_COLOR, "kind": "box"} for label in labels]
    return entries


def _sprite(tiles: list[Pictures.Image]) -> bytes:
    width, height = tiles[0].size
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Pictures.new("RGB", (columns * width, rows * height))
    for position, tile in enumerate(tiles):
        sheet.paste(tile, (position % columns * width, position // columns * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()
