"""One page that says what was found and shows where: for any viewer, and for paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

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
from pipeline.palette import DETECTION_COLOR, Rgb, color_of
from pipeline.results import Classification, Detection, Finding, Measurement, Prediction, Segment
from pipeline.volume import Input, Volume

WIDTH: Final = 1024
#: longer side of a tile, of the only one there is, and how many there are at most
TILE: Final = 320
LONE_TILE: Final = 640
MOST_TILES: Final = 6
MOST_ROWS: Final = 18
_MARGIN: Final = 16
_LINE: Final = 24
_COLUMNS: Final = 3
_WHITE: Final[Rgb] = (255, 255, 255)
_GREY: Final[Rgb] = (170, 170, 170)
_WARNING: Final[Rgb] = (255, 190, 60)
_LARGE: Final = ImageFont.load_default(24)
_NORMAL: Final = ImageFont.load_default(16)
_SMALL: Final = ImageFont.load_default(13)

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands above the table."""

    title: str
    #: small lines below it: model, version, digest, software
    lines: tuple[str, ...]
    warning: str


@dataclass(frozen=True)
class _Row:
    color: Rgb | None
    label: str
    value: str
    detail: str


def summary(image: Input, prediction: Prediction, heading: Heading) -> Pictures.Image:
    """Draw heading, findings and a few slices; RGB, 1024 pixels wide.

    Nothing about the patient is drawn. The same input gives the same pixels.
    """
    tiles = _tiles(image, prediction)
    rows = _rows(image, prediction.findings)
    table_top = 3 * _MARGIN + 32 + 20 * len(heading.lines) + _LINE
    tiles_top = table_top + _LINE * (len(rows) + 1) + _MARGIN
    tall = max(tile.height for tile, _ in tiles) + _LINE
    height = tiles_top + -(-len(tiles) // _COLUMNS) * tall + _MARGIN
    page = Pictures.new("RGB", (WIDTH, height))
    draw = ImageDraw.Draw(page)
    _draw_heading(draw, heading)
    _draw_table(draw, rows, table_top)
    for number, (tile, caption) in enumerate(tiles):
        left = _MARGIN + number % _COLUMNS * (TILE + _MARGIN)
        top = tiles_top + number // _COLUMNS * tall
        page.paste(tile, (left, top))
        _write(draw, (left, top + tile.height + 3), caption, TILE, _SMALL, _GREY)
    return page


def _tiles(image: Input, prediction: Prediction) -> list[tuple[Pictures.Image, str]]:
    """Paint the slices with most findings, then evenly spaced ones, in scrolling order."""
    display, shape, count = display_of(image), plane_shape(image), slice_count(image)
    painter = Painter(
        display=display,
        window=window_of(image, prediction),
        shape=shape,
        size=Painter.size_for(display, shape, LONE_TILE if count == 1 else TILE),
        detections=detections_of(prediction),
    )
    found = list(dict.fromkeys(telling(prediction, count)))[:MOST_TILES]
    inner = evenly(count + 2, MOST_TILES - len(found) + 2)[1:-1]
    chosen = {*found, *(index - 1 for index in inner)}
    labels = prediction.label_map
    painted = []
    for index in display.order(count):
        if index not in chosen:
            continue
        plane = None if labels is None else labels[index]
        tile = painter.paint(values_of(image, index), plane, index)
        _write_edges(tile, display)
        what = f"{display.plane} slice" if isinstance(image, Volume) else "frame"
        painted.append((tile, f"{what} {index + 1} of {count}" if count > 1 else ""))
    return painted


def _write_edges(tile: Pictures.Image, display: Display) -> None:
    """Write which side of the patient is left and which is up, where that is known."""
    draw = ImageDraw.Draw(tile)
    left, _, top, _ = display.edges
    draw.text((4, tile.height / 2), left, fill=_WHITE, font=_NORMAL, anchor="lm")
    draw.text((tile.width / 2, 4), top, fill=_WHITE, font=_NORMAL, anchor="mt")


def _rows(image: Input, findings: Sequence[Finding]) -> list[_Row]:
    rows = [_row(image, finding) for finding in findings]
    if not rows:
        return [_Row(None, "no finding", "", "")]
    if len(rows) > MOST_ROWS:
        rest = len(rows) - MOST_ROWS + 1
        return [*rows[: MOST_ROWS - 1], _Row(None, f"and {rest} more", "", "")]
    return rows


def _row(image: Input, finding: Finding) -> _Row:
    match finding:
        case Classification():
            detail = "most likely" if finding.is_top else ""
            return _Row(None, finding.label, f"{finding.score:.3f}", detail)
        case Segment():
            is_volume = isinstance(image, Volume)
            value = f"{finding.volume_ml:.1f} mL" if is_volume else f"{finding.voxels} pixels"
            where = "" if finding.centroid is None else _point(finding.centroid)
            return _Row(color_of(finding.number), finding.label, value, where)
        case Detection():
            place = f"slice {int((finding.index_box[0] + finding.index_box[3]) / 2) + 1}"
            size = finding.size and " x ".join(f"{side:.1f}" for side in finding.size)
            detail = f"{place}, {size} mm" if size else place
            return _Row(DETECTION_COLOR, finding.label, f"{finding.score:.3f}", detail)
        case Measurement():
            return _Row(None, finding.label, f"{finding.value:.4g} {finding.unit}".rstrip(), "")


def _point(point: tuple[float, float, float]) -> str:
    return "centre {:.1f}, {:.1f}, {:.1f} mm (LPS)".format(*point)


def _draw_heading(draw: ImageDraw.ImageDraw, heading: Heading) -> None:
    room, top = WIDTH - 2 * _MARGIN, _MARGIN
    _write(draw, (_MARGIN, top), heading.title, room, _LARGE, _WHITE)
    top += 32
    for line in heading.lines:
        _write(draw, (_MARGIN, top), line, room, _SMALL, _GREY)
        top += 20
    _write(draw, (_MARGIN, top + 4), heading.warning, room, _NORMAL, _WARNING)


def _draw_table(draw: ImageDraw.ImageDraw, rows: Sequence[_Row], top: int) -> None:
    draw.line((_MARGIN, top - 6, WIDTH - _MARGIN, top - 6), fill=_GREY)
    for row, line in zip([_Row(None, "finding", "value", ""), *rows], _lines(top), strict=False):
        color = _GREY if line == top else _WHITE
        if row.color is not None:
            draw.rectangle((_MARGIN, line + 3, _MARGIN + 12, line + 15), fill=row.color)
        _write(draw, (_MARGIN + 24, line), row.label, 400, _NORMAL, color)
        _write(draw, (460, line), row.value, 140, _NORMAL, color)
        _write(draw, (610, line), row.detail, WIDTH - _MARGIN - 610, _NORMAL, color)


def _lines(top: int) -> Iterator[int]:
    while True:
        yield top
        top += _LINE


def _write(
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    text: str,
    room: float,
    font: Font,
    color: Rgb,
) -> None:
    """Write one line, cut where it would leave its room."""
    shown = text
    while shown and draw.textlength(shown, font=font) > room:
        shown = shown[:-1]
    if shown != text:
        shown = f"{shown[:-3]}..."
    draw.text(start, shown, fill=color, font=font)
