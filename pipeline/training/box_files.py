"""Files of boxes: our own form, COCO and Pascal VOC. They are told by their content."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pipeline.training import coco, voc
from pipeline.training.boxes import AnyBox, Box, PixelBox, Stated
from pipeline.training.reading import LabelRefused

_FORMS: Final = (
    'it is neither COCO nor of the form {"boxes": [{"label", "centre", "size"}, ...]}, nor, of a '
    'single image, {"boxes": [{"label", "low", "high"}, ...]}'
)


def read(path: Path, image_name: str = "") -> Stated:
    """Read what a file says of one image.

    Our own form is ``{"boxes": [{"label", "centre": [x, y, z], "size": [s, r, c]}]}`` in mm, or,
    of an image, ``{"boxes": [{"label", "low": [row, column], "high": [row, column]}]}`` in edges
    of pixels. ``"drawn_on": [rows, columns]`` may stand beside them.

    Args:
        path: of the file.
        image_name: by which a COCO file of many images knows this one.

    Raises:
        LabelRefused: another form, or nothing in it about this image.

    """
    if path.suffix.lower() == ".xml":
        return voc.read(path)
    broken = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
    try:
        about = path.stat()
        document = _parsed(path, (about.st_ino, about.st_size, about.st_mtime_ns))
        if isinstance(document, coco.Index):
            return document.boxes_of(image_name)
        size = document.get("drawn_on")
        return Stated(
            boxes=tuple(map(_stated, document["boxes"])),
            drawn_on=None if size is None else (int(size[0]), int(size[1])),
        )
    except LabelRefused:
        raise
    except (*broken, RecursionError) as error:
        raise LabelRefused(_FORMS) from error


def dump(stated: Stated) -> str:
    """Return boxes in our own form."""
    document: dict[str, Any] = {"boxes": [asdict(box) for box in stated.boxes]}
    if stated.drawn_on is not None:
        document["drawn_on"] = stated.drawn_on
    return json.dumps(document)


@functools.lru_cache(maxsize=4)  # one file may be that of a whole set, or of a part of it
def _parsed(path: Path, stamp: tuple[int, int, int]) -> Any:
    """Return the document of a file, one of COCO by image; once, as long as the file is the same.

    Args:
        path: of the file.
        stamp: by which a file that was changed is told: inode, bytes, time.

    """
    del stamp
    document = json.loads(path.read_bytes())
    return coco.index(document) if coco.is_coco(document) else document


def _stated(stated: Any) -> AnyBox:
    label = str(stated["label"])
    if "low" in stated:
        return PixelBox(label=label, low=_pair(stated["low"]), high=_pair(stated["high"]))
    return Box(label=label, centre=_triple(stated["centre"]), size=_triple(stated["size"]))


def _pair(values: Any) -> tuple[float, float]:
    first, second = (float(value) for value in values)
    return first, second


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
