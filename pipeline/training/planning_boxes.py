"""The boxes of the training part, looked at before anything of a recipe is decided by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.training import box_files, dicom_labels
from pipeline.training.boxes import AnyBox, Box
from pipeline.training.dicom_labels import is_dicom
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import Case
from pipeline.training.reading import LabelRefused
from pipeline.training.recipe import Recipe
from pipeline.volume import Input

#: lengths of boxes, (N, axes)
Sides: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SeenBoxes:
    """The boxes of the training part that have an area."""

    #: by label, in mm along (slices, rows, columns) of volumes, in pixels along (rows, columns) of
    #: single images; of labels that have a box
    sides: Mapping[str, Sides]
    #: boxes of the case that has most
    most: int


def look(
    cases: Sequence[Case],
    images: Mapping[Path, Input],
    recipe: Recipe,
    names: Sequence[str],
    *,
    spatial_dims: int,
) -> SeenBoxes:
    """Read the boxes of the training part: of files all, of DICOM those of some images.

    Args:
        cases: of the training part.
        images: some of their images, by their paths.
        recipe: says enough for DICOM objects to be read.
        names: of the labels; none = those that the boxes have, in their order.
        spatial_dims: of the images.

    Raises:
        ManifestInvalid: a file cannot be read or is of other images; no case has a box, or a box of
            one of the labels.

    """
    found: list[tuple[AnyBox, ...]] = []
    faults: list[Fault] = []
    for case in cases:
        try:
            boxes = _read(case, images.get(case.image), recipe, names)
            found += [] if boxes is None else [_checked(boxes, spatial_dims)]
        except LabelRefused as refused:
            faults.append(Fault(case.row, "label", str(refused)))
    sides = _sides([box for boxes in found for box in boxes], spatial_dims)
    if not faults and len(found) == len(cases):
        faults += [_missing(name) for name in names if name not in sides]
    if not faults and not sides:
        faults.append(_missing("a box"))
    if faults:
        raise ManifestInvalid(faults)
    known = {name: sides[name] for name in names or sorted(sides) if name in sides}
    return SeenBoxes(sides=known, most=max(map(len, found)))


def _read(
    case: Case, image: Input | None, recipe: Recipe, names: Sequence[str]
) -> tuple[AnyBox, ...] | None:
    """Return the boxes of a case; None where they are not known without its image."""
    label = Path(case.label)
    if not is_dicom(label):
        return box_files.read(label, case.image.name).boxes
    if not names:
        raise LabelRefused("what a DICOM object holds is found by labels: the recipe states none")
    return None if image is None else dicom_labels.read_boxes(label, image, recipe)


def _checked(boxes: tuple[AnyBox, ...], spatial_dims: int) -> tuple[AnyBox, ...]:
    if any(isinstance(box, Box) != (spatial_dims == 3) for box in boxes):
        raise LabelRefused("boxes of volumes are in mm, those of single images in pixels")
    return boxes


def _sides(boxes: Sequence[AnyBox], spatial_dims: int) -> dict[str, Sides]:
    """Return the sides of the boxes that have an area, by label."""
    by_label: dict[str, list[Sequence[float]]] = {}
    for box in boxes:
        sides = box.size if isinstance(box, Box) else np.subtract(box.high, box.low).tolist()
        if min(sides) > 0:
            by_label.setdefault(box.label, []).append(sides)
    return {
        name: np.asarray(of_label, float).reshape(-1, spatial_dims)
        for name, of_label in by_label.items()
    }


def _missing(what: str) -> Fault:
    return Fault(0, "label", f"no case of the training part has {what}")
