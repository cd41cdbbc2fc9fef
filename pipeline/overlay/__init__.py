"""Pictures to look through: evenly spaced slices and those with most findings, in one sprite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from PIL import Image as Pictures

from pipeline.overlay import halves
from pipeline.overlay.display import Display, display_of
from pipeline.overlay.heat import Heat
from pipeline.overlay.slices import (
    detections_of,
    evenly,
    plane_shape,
    slice_count,
    telling,
    values_of,
)
from pipeline.overlay.sprites import Picture, Sprite
from pipeline.overlay.tiles import Painter
from pipeline.overlay.windows import window_of
from pipeline.palette import DETECTION_COLOR, color_of
from pipeline.results import DerivedImage, Detection, Prediction, Segment
from pipeline.volume import Input

#: evenly spaced slices of a volume, and the most that are shown with those of the findings
EVEN_SLICES: Final = 24
MOST_SLICES: Final = 36
#: longer side of a tile, screen pixels: of a stack, and of a lone picture
TILE: Final = 256
LONE_TILE: Final = 512
#: of the name of a map in that of its file
_LONGEST_NAME: Final = 36


def render(image: Input, prediction: Prediction, *, name: str) -> tuple[Picture, ...]:
    """Draw what ``prediction`` says into slices of ``image``.

    Slices are shown as acquired, turned to the radiological convention, in true proportions.
    Nothing about the patient is drawn or written. The same input gives the same bytes.

    Args:
        image: what was analysed.
        prediction: the label map, the boxes and the maps on the grid of ``image``; derived images.
        name: base of the file names; unique within a job.

    Returns:
        A WebP sprite, ``overlay-<name>.webp``, tiles in rows of at most six; and its index,
        ``overlay-<name>.json``: tile size, columns, plane, letters at the edges, window,
        legend, and per tile the slice number and which labels and boxes it shows. Then the same
        for each map that is no probability of a segment, ``overlay-<name>.<number>-<its name>``,
        and for each derived image that shows the same part of the patient. A map is there as a PNG
        too, whose colours are exact.

    """
    painter = _painter(image, prediction)
    found = [*_findings(image, prediction, painter).pictures(name)]
    maps = [one for one in prediction.maps if one.segment is None]
    derived = [one for one in prediction.derived if halves.covers(one, image)]
    sprites = [(one.name, _heat(image, Heat(one), painter)) for one in maps]
    sprites += [(one.name, _halves(image, one, painter)) for one in derived]
    for number, (title, sprite) in enumerate(sprites, start=1):
        what = re.sub(r"[^a-z0-9]+", "-", title.lower())[:_LONGEST_NAME].strip("-")
        found += sprite.pictures(f"{name}.{number}-{what}")
        if number <= len(maps):
            found.append(sprite.exact(f"{name}.{number}-{what}"))
    return tuple(found)


def beside(image: Input, said: Sequence[Prediction], index: int) -> Pictures.Image:
    """Draw each of several predictions into slice ``index`` of the same image, left to right.

    All are shown through one window, so that what differs is what was said.
    """
    painter = _painter(image, said[0])
    return joined(
        [
            replace(painter, detections=detections_of(one)).paint(
                values_of(image, index),
                None if one.label_map is None else one.label_map[index],
                index,
            )
            for one in said
        ]
    )


def joined(tiles: Sequence[Pictures.Image]) -> Pictures.Image:
    """Return pictures of one height side by side."""
    sheet = Pictures.new("RGB", (sum(tile.width for tile in tiles), tiles[0].height))
    across = 0
    for tile in tiles:
        sheet.paste(tile, (across, 0))
        across += tile.width
    return sheet


def _painter(image: Input, prediction: Prediction) -> Painter:
    display, shape, count = display_of(image), plane_shape(image), slice_count(image)
    return Painter(
        display=display,
        window=window_of(image, prediction),
        shape=shape,
        size=Painter.size_for(display, shape, LONE_TILE if count == 1 else TILE),
        detections=detections_of(prediction),
    )


def _findings(image: Input, prediction: Prediction, painter: Painter) -> Sprite:
    """Draw segments and boxes."""
    count, labels = slice_count(image), prediction.label_map
    indices = _choose(painter.display, count, telling(prediction, count))
    return Sprite(
        slice_count=count,
        display=painter.display,
        window=painter.window.name,
        legend=_legend(prediction),
        tiles=[
            painter.paint(values_of(image, index), None if labels is None else labels[index], index)
            for index in indices
        ],
        described=[_describe(index, prediction, detections_of(prediction)) for index in indices],
    )


def _heat(image: Input, heat: Heat, painter: Painter) -> Sprite:
    """Lay one map over the image alone."""
    count, plain = slice_count(image), replace(painter, detections=())
    indices = _choose(painter.display, count, [heat.most()])
    return Sprite(
        slice_count=count,
        display=painter.display,
        window=painter.window.name,
        legend=heat.legend(),
        tiles=[
            heat.over(plain.paint(values_of(image, index), None, index), index, plain)
            for index in indices
        ],
        described=[
            {
                "slice": index + 1,
                "segments": [heat.shown.name] if heat.has_much(index) else [],
                "boxes": 0,
            }
            for index in indices
        ],
    )


def _halves(image: Input, derived: DerivedImage, painter: Painter) -> Sprite:
    """Show what the model computed in the right half of each tile."""
    count, plain = slice_count(image), replace(painter, detections=())
    indices = _choose(painter.display, count, ())
    return Sprite(
        slice_count=count,
        display=painter.display,
        window=painter.window.name,
        legend=halves.legend(derived),
        tiles=[
            halves.joined(
                plain.paint(values_of(image, index), None, index),
                plain.paint(halves.plane_of(derived, image, index), None, index),
            )
            for index in indices
        ],
        described=[{"slice": index + 1, "segments": [], "boxes": 0} for index in indices],
    )


def _choose(display: Display, count: int, wanted: Iterable[int]) -> list[int]:
    """Return slice indices in scrolling order: evenly spaced, and of those wanted as many as go."""
    chosen = set(evenly(count, EVEN_SLICES))
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
