"""What is true of a case, from DICOM: segmentations, structure sets and reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cc3d
import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.labels.label_read import LabelRead, Region, Wanted, assigned
from pipeline.dicom.labels.options import Options
from pipeline.dicom.labels.reading import LabelFiles, read_labels
from pipeline.dicom.sources.opening import open_source
from pipeline.errors import StudyRejected
from pipeline.training.boxes import AnyBox, Box, PixelBox
from pipeline.training.reading import LabelRefused
from pipeline.training.recipe import Recipe
from pipeline.volume import Input, Volume

_MAGIC: Final = b"DICM"


def is_dicom(path: Path) -> bool:
    """Say whether a label is a DICOM file (PS3.10 7.1), or a folder with nothing but such."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        return bool(files) and all(is_dicom(file) for file in files)
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == _MAGIC


def read_mask(path: Path, image: Input, recipe: Recipe) -> NDArray[np.uint8]:
    """Read the numbers of the recipe's labels on the grid of ``image``.

    A label is found by its name, else by its code. What else the object holds is background.

    Raises:
        LabelRefused: it does not lie on the image, holds none of the labels, or two of them at
            one voxel.

    """
    wanted = _wanted(recipe)
    with _refusals():
        return _read(path, image, wanted).label_map(wanted)


def read_boxes(path: Path, image: Input, recipe: Recipe) -> tuple[AnyBox, ...]:
    """Read the boxes of the recipe's labels: of a volume in the patient, of an image in pixels.

    Of a report they are the boxes of its regions, and a report without regions is a case without
    boxes; of a segmentation or a structure set the boxes around every connected part.

    Raises:
        LabelRefused: it does not lie on the image, or holds regions but none of the labels.

    """
    wanted = _wanted(recipe)
    with _refusals():
        read = _read(path, image, wanted)
        if read.boxes:
            pairs = read.labelled_boxes(wanted)
            return tuple(_box(label.name, np.array(one.index_box), image) for label, one in pairs)
        named = [(label, one) for one in read.regions if (label := assigned(one, wanted))]
    return tuple(
        _box(label.name, edges, image) for label, region in named for edges in _boxes_around(region)
    )


def read_class(path: Path, image: Input, recipe: Recipe) -> str:
    """Read the one class that a report states.

    Raises:
        LabelRefused: it is about another image, or states none of the classes or several.

    """
    wanted = _wanted(recipe)
    with _refusals():
        found = _read(path, image, wanted).classes(wanted)
    if len(found) != 1:
        raise LabelRefused(f"the report states {len(found)} of the classes, not exactly one")
    return found[0].name


def _wanted(recipe: Recipe) -> tuple[Wanted, ...]:
    labels = (field.to_label() for field in recipe.labels)
    return tuple(Wanted(number=one.number, name=one.name, code=one.code) for one in labels)


def _read(path: Path, image: Input, wanted: tuple[Wanted, ...]) -> LabelRead:
    names = tuple(entry.name for entry in open_source(str(path)).entries())
    files = LabelFiles(source=str(path), names=names)
    return read_labels(files, image, options=Options(wanted=wanted))


@contextmanager
def _refusals() -> Iterator[None]:
    """Say of a label that is refused that it is the label, not the image."""
    try:
        yield
    except StudyRejected as refused:
        raise LabelRefused(refused.sentence) from refused


def _boxes_around(region: Region) -> Iterator[NDArray[np.float64]]:
    """Yield the box around every part of a region; voxels that touch at a corner are one part."""
    if not region.voxels.size:
        return
    parts = cc3d.connected_components(np.ascontiguousarray(region.voxels), connectivity=26)
    for part in cc3d.statistics(parts)["bounding_boxes"][1:]:
        start = np.array(region.start)
        low, high = ([getattr(axis, end) for axis in part] for end in ("start", "stop"))
        yield np.concatenate([start + low, start + high]).astype(np.float64)


def _box(label: str, edges: NDArray[np.float64], image: Input) -> AnyBox:
    """Return a box from (slice, row, column) of its first and of one past its last voxel."""
    low, high = edges[:3], edges[3:]
    if isinstance(image, Volume):
        x, y, z = image.to_patient((low + high) / 2 - 0.5).tolist()
        slices, rows, columns = ((high - low) * image.spacing).tolist()
        return Box(label=label, centre=(x, y, z), size=(slices, rows, columns))
    _, top, left = low.tolist()
    _, bottom, right = high.tolist()
    return PixelBox(label=label, low=(top, left), high=(bottom, right))
