"""Labels by folder: one folder for each class, or one for images and one for their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.training.layouts.line import LayoutRefused, Line, images_in, stem, subfolder
from pipeline.training.manifest import PARTS

_IMAGES: Final = ("images", "imagesTr", "image")
_MASKS: Final = ("labels", "labelsTr", "masks", "mask")


def classes(folder: Path, out: Path) -> Sequence[Line]:
    """``CLASS/IMAGE``, or ``PART/CLASS/IMAGE`` where every folder has the name of a part.

    Of a set with nothing to be judged on the split is left open.
    """
    del out
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    if not inside:
        raise LayoutRefused("there are no folders of classes in it")
    is_split = all(path.name.lower() in PARTS for path in inside)
    parts = {path: path.name for path in inside} if is_split else {folder: ""}
    states_split = len({PARTS[name.lower()] for name in parts.values() if name}) > 1
    return [
        Line(image=image, label=place.name, split=part if states_split else "")
        for root, part in parts.items()
        for place in sorted(root.iterdir())
        if place.is_dir()
        for image in images_in(place, deep=True)
    ]


def masks(folder: Path, out: Path) -> Sequence[Line]:
    """``images/NAME`` and ``labels/NAME``; one that lacks the other is a line all the same."""
    del out
    images = {stem(path): path for path in images_in(subfolder(folder, *_IMAGES))}
    found = {stem(path): path for path in images_in(subfolder(folder, *_MASKS))}
    return [
        Line(image=images.get(name), label=found.get(name, ""))
        for name in sorted(images.keys() | found.keys())
    ]
