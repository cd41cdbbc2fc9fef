"""Pictures to look through: evenly spaced slices and those with most findings, in one sprite."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from pipeline.overlay.display import Display, display_of
from pipeline.overlay.tiles import Painter
from pipeline.overlay.windows import window_of
from pipeline.palette import DETECTION_COLOR, color_of
from pipeline.results import Detection, Prediction, Segment
from pipeline.volume import Input, Volume

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
    voxels = image.stored if isinstance(image, Volume) else image.pixels
    display = display_of(image)
    window = window_of(image, prediction)
    detections = [f for f in prediction.findings if isinstance(f, Detection)]
    indices = _choose(display, voxels.shape[0], prediction, detections)
    shape = (voxels.shape[1], voxels.shape[2])
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
        painter.paint(_values(image, index), None if labels is None else labels[index], index)
        for index in indices
    ]
    index_of_tiles: dict[str, Any] = {
        "sprite": f"overlay-{name}.webp",
        "tile": painter.size,
        "columns": min(COLUMNS, len(tiles)),
        "slice_count": int(voxels.shape[0]),
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


def _values(image: Input, index: int) -> NDArray[Any]:
    if isinstance(image, Volume):
        plane = image.stored[index].astype(np.float32)
        return np.asarray(plane * np.float32(image.slope) + np.float32(image.intercept))
    return np.asarray(image.pixels[index])


def _choose(
    display: Display, count: int, prediction: Prediction, detections: list[Detection]
) -> list[int]:
    """Return slice indices in scrolling order: evenly spaced, and where most was found."""
    chosen = {round(v) for v in np.linspace(0, count - 1, min(count, EVEN_SLICES))}
    wanted: list[int] = []
    labels = prediction.label_map
    if labels is not None:
        for finding in prediction.findings:
            if isinstance(finding, Segment) and finding.voxels:
                areas = [np.count_nonzero(plane == finding.number) for plane in labels]
                wanted.append(int(np.argmax(areas)))
    for detection in sorted(detections, key=lambda d: -d.score):
        middle = (detection.index_box[0] + detection.index_box[3]) / 2.0 - 0.5
        wanted.append(int(np.clip(round(middle), 0, count - 1)))
    for index in wanted:
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
