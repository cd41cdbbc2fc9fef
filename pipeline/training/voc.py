"""Pascal VOC's annotations: an XML file with the boxes of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from pipeline.training.boxes import PixelBox, Stated
from pipeline.training.reading import LabelRefused

_LARGEST: Final = 1 << 24


def read(path: Path) -> Stated:
    """Read the objects of an annotation; ``bndbox`` is in edges of pixels, as tools write it.

    Pascal VOC itself counts pixels from 1: its boxes begin one pixel before what is read here.

    Raises:
        LabelRefused: it is not of this format and in UTF-8, or has entities of its own.

    """
    try:
        text = _text(path)
        root = ET.fromstring(text)  # noqa: S314 - it has no entities of its own
        size = root.find("size")
        drawn_on = None if size is None else (_whole(size, "height"), _whole(size, "width"))
        boxes = tuple(_box(one) for one in root.iter("object"))
    except LabelRefused:
        raise
    except (OSError, ET.ParseError, UnicodeError, ValueError) as error:
        raise LabelRefused("it is not an annotation of Pascal VOC") from error
    if root.tag != "annotation":
        raise LabelRefused("it is not an annotation of Pascal VOC")
    # tools that do not know the size write 0
    return Stated(boxes=boxes, drawn_on=drawn_on if drawn_on and all(drawn_on) else None)


def _text(path: Path) -> str:
    """Return an annotation in UTF-8; in another encoding entities could hide from this look."""
    if path.stat().st_size > _LARGEST:
        raise LabelRefused("the annotation is absurdly large")
    text = path.read_text(encoding="utf-8-sig")
    if "<!" in text.replace("<!--", ""):
        raise LabelRefused("the annotation has a document type of its own")
    return text


def _box(stated: ET.Element) -> PixelBox:
    place = stated.find("bndbox")
    name = stated.findtext("name")
    if place is None or name is None:
        raise ValueError("an object without a name or a place")
    top, left, bottom, right = (
        float(place.findtext(edge) or "") for edge in ("ymin", "xmin", "ymax", "xmax")
    )
    return PixelBox(label=name.strip(), low=(top, left), high=(bottom, right))


def _whole(size: ET.Element, name: str) -> int:
    return int(size.findtext(name) or "")
