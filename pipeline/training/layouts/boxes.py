"""Boxes: Pascal VOC's folders, and COCO's file of a whole set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.training import box_files, coco
from pipeline.training.layouts.line import LayoutRefused, Line, images_in, stem, subfolder
from pipeline.training.reading import LabelRefused

_LISTS: Final = {"train": "train", "val": "validation", "test": "test"}


def voc(folder: Path, out: Path) -> Sequence[Line]:
    """``JPEGImages/NAME.jpg`` and ``Annotations/NAME.xml``.

    The lists in ``ImageSets`` are the split where there is one for each of train, val and test and
    no image is in two.
    """
    del out
    images = {stem(path): path for path in images_in(subfolder(folder, "JPEGImages", "images"))}
    place = subfolder(folder, "Annotations", "annotations")
    labels = {path.stem: path for path in sorted(place.glob("*.xml"))}
    parts = _parts(folder)
    return [
        Line(image=images.get(name), label=labels.get(name, ""), split=parts.get(name, ""))
        for name in sorted(images.keys() | labels.keys())
    ]


def of_coco(folder: Path, out: Path) -> Sequence[Line]:
    """One JSON file in the folder or in ``annotations``, and images anywhere below.

    The boxes of each image are written to a file of their own, so that a case changes with its
    own annotations alone.
    """
    document = _document(folder)
    images = {path.name: path for path in images_in(folder, deep=True)}
    labels = out / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    lines = []
    try:
        index = coco.index(document)
        for number, image in enumerate(document["images"]):
            name = Path(str(image["file_name"])).name
            label = labels / f"{number:06d}.json"
            label.write_text(box_files.dump(index.boxes_of(name)))
            lines.append(Line(image=images.get(name), label=label))
    except (LabelRefused, LookupError, TypeError, ValueError, AttributeError) as error:
        raise LayoutRefused("the annotations are not in the format of COCO") from error
    return lines


def _parts(folder: Path) -> Mapping[str, str]:
    """Return the part of each image by its name, empty where the lists state no split."""
    lists = {}
    for name, part in _LISTS.items():
        found = sorted((folder / "ImageSets").rglob(f"{name}.txt"))
        if len(found) != 1:
            return {}
        words = (line.split() for line in found[0].read_text().splitlines())
        lists[part] = {first for first, *_ in filter(None, words)}
    named = [name for names in lists.values() for name in names]
    if len(named) != len(set(named)):
        return {}
    return {name: part for part, names in lists.items() for name in names}


def _document(folder: Path) -> dict[str, list[dict[str, object]]]:
    files = [*folder.glob("*.json"), *(folder / "annotations").glob("*.json")]
    if len(files) != 1:
        raise LayoutRefused(f"there are {len(files)} JSON files of annotations, not exactly one")
    try:
        document = json.loads(files[0].read_bytes())
    except (ValueError, RecursionError) as error:
        raise LayoutRefused("the annotations are not valid JSON") from error
    if not coco.is_coco(document):
        raise LayoutRefused("the annotations are not in the format of COCO")
    found: dict[str, list[dict[str, object]]] = document
    return found
