"""From a folder to a manifest."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StudyRejected
from pipeline.training import likeness, reading
from pipeline.training.layouts import boxes, folders, medmnist
from pipeline.training.layouts.line import LayoutRefused, Line
from pipeline.volume import Volume

#: reads a folder; what has to be written beside the manifest goes into the second one
Layout = Callable[[Path, Path], Sequence[Line]]

LAYOUTS: Final[Mapping[str, Layout]] = {
    "classes": folders.classes,
    "masks": folders.masks,
    "voc": boxes.voc,
    "coco": boxes.of_coco,
    "medmnist": medmnist.arrays,
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of it."""

    manifest: Path
    cases: int
    #: patients, or what is taken for one
    patients: int


def make(folder: Path, layout: str, manifest: Path, *, alike: float | None = None) -> Made:
    """Write the manifest of a folder.

    Args:
        folder: of the set.
        layout: one of ``LAYOUTS``.
        manifest: the CSV file to write; images stay where they are.
        alike: correlation from which on images are taken for one patient (``likeness``), 1 = each
            is a patient of its own; None = ``likeness.ALIKE``, but where the set states its split
            that is taken as it is, and each image for a patient of its own.

    Raises:
        LayoutRefused: the folder is not stored in this way.

    """
    manifest.parent.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        raise LayoutRefused("there is no such folder")
    lines = LAYOUTS[layout](folder.resolve(), manifest.parent.resolve())
    if not lines:
        raise LayoutRefused("there are no images in it")
    lines = _with_patients(lines, alike)
    rows = [
        (_shown(line.image, manifest), _shown(line.label, manifest), line.patient_id, line.split)
        for line in lines
    ]
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label", "patient_id", "split"))
        writer.writerows(rows)
    return Made(
        manifest=manifest, cases=len(lines), patients=len({line.patient_id for line in lines})
    )


def _with_patients(lines: Sequence[Line], alike: float | None) -> list[Line]:
    """Name the patient of every case: a number of five digits, the first of those alike."""
    if alike is None:
        alike = 1.0 if all(line.split for line in lines) else likeness.ALIKE
    numbers = list(range(len(lines)))
    if alike < 1:
        numbers = likeness.groups((_description(line.image) for line in lines), alike)
    return [
        replace(line, patient_id=f"{number:05d}")
        for line, number in zip(lines, numbers, strict=True)
    ]


def _description(image: Path | None) -> NDArray[np.float32]:
    """Return what an image is compared by; one that cannot be read is like no other."""
    if image is not None:
        name = image.name.lower()
        is_volume = name.endswith((".nii", ".nii.gz", ".nrrd"))
        with suppress(StudyRejected):
            read = reading.read_image(
                image,
                spatial_dims=3 if is_volume else 2,
                channels=3 if reading.coloured(image) else 1,
            )
            return likeness.describe(read.stored if isinstance(read, Volume) else read.pixels)
    return likeness.describe(np.zeros((1, 2, 2)))


def _shown(stated: str | Path | None, manifest: Path) -> str:
    """Return a class as it is, and a path as seen from the manifest."""
    if isinstance(stated, Path):
        return os.path.relpath(stated, manifest.parent.resolve())
    return stated or ""
