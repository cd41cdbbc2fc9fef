"""COCO's object detection format: boxes of many images in one JSON file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.training.boxes import PixelBox, Stated
from pipeline.training.reading import LabelRefused


def is_coco(document: object) -> bool:
    """Say whether a document has the sections of COCO."""
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


@dataclass(frozen=True, kw_only=True)
class Index:
    """What a file says, by image: as it stands there, but for what finds it."""

    #: by the last part of their file names
    images: Mapping[str, Sequence[Any]]
    #: by the id of their image
    annotations: Mapping[Any, Sequence[Any]]
    #: names by id
    categories: Mapping[Any, str]

    def boxes_of(self, image_name: str) -> Stated:
        """Return the boxes of one image; ``bbox`` is [x, y, width, height] in edges of pixels.

        Regions that stand for a crowd (``iscrowd``) are no boxes of single objects: they are left
        out.

        Raises:
            LabelRefused: the file does not know the image, or several of its name.
            LookupError, TypeError, AttributeError, ValueError, OverflowError: it is of another
                format.

        """
        known = self.images.get(_name(image_name), ())
        if len(known) != 1:
            raise LabelRefused(f"the file knows {len(known)} images of this name, not exactly one")
        (image,) = known
        of_it = self.annotations.get(image["id"], ())
        single = [one for one in of_it if not one.get("iscrowd")]
        crowds = len(of_it) - len(single)
        return Stated(
            boxes=tuple(_box(one["bbox"], self.categories[one["category_id"]]) for one in single),
            drawn_on=(int(image["height"]), int(image["width"])),
            notes=(f"regions of crowds were left out: {crowds}",) if crowds else (),
        )


def index(document: Any) -> Index:
    """Return what a document says, by image.

    Raises:
        LookupError, TypeError, AttributeError, ValueError, OverflowError: it is of another format.

    """
    images, annotations = defaultdict(list), defaultdict(list)
    for one in document["images"]:
        images[_name(one["file_name"])].append(one)
    for one in document["annotations"]:
        annotations[one["image_id"]].append(one)
    names = {one["id"]: str(one["name"]) for one in document["categories"]}
    return Index(images=images, annotations=annotations, categories=names)


def _name(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _box(stated: Any, label: str) -> PixelBox:
    x, y, width, height = (float(number) for number in stated)
    return PixelBox(label=label, low=(y, x), high=(y + height, x + width))
