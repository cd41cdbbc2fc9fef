"""COCO's object detection format: boxes of many images in one JSON file."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from pipeline.training.boxes import PixelBox, Stated
from pipeline.training.reading import LabelRefused


def is_coco(document: object) -> bool:
    """Say whether a document has the sections of COCO."""
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


def boxes_of(document: Any, image_name: str) -> Stated:
    """Return the boxes of one image; ``bbox`` is [x, y, width, height] in edges of pixels.

    Regions that stand for a crowd (``iscrowd``) are no boxes of single objects: they are left out.

    Raises:
        LabelRefused: the file does not know the image, or several of its name.
        LookupError, TypeError, AttributeError, ValueError, OverflowError: it is of another format.

    """
    known = [one for one in document["images"] if _name(one["file_name"]) == _name(image_name)]
    if len(known) != 1:
        raise LabelRefused(f"the file knows {len(known)} images of this name, not exactly one")
    (image,) = known
    names = {one["id"]: str(one["name"]) for one in document["categories"]}
    of_it = [one for one in document["annotations"] if one["image_id"] == image["id"]]
    single = [one for one in of_it if not one.get("iscrowd")]
    crowds = len(of_it) - len(single)
    return Stated(
        boxes=tuple(_box(one["bbox"], names[one["category_id"]]) for one in single),
        drawn_on=(int(image["height"]), int(image["width"])),
        notes=(f"regions of crowds were left out: {crowds}",) if crowds else (),
    )


def _name(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _box(stated: Any, label: str) -> PixelBox:
    x, y, width, height = (float(number) for number in stated)
    return PixelBox(label=label, low=(y, x), high=(y + height, x + width))
