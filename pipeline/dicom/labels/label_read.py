"""What a label object states of an image: regions, boxes and judgements, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code as DicomCode

from pipeline.dicom.labels.refusal import invalid, mismatch
from pipeline.results import Code, Point

#: SNOMED CT, "Yes" (qualifier value)
_YES: Final = "373066001"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A label that is asked for: found by its text, else by its code."""

    #: the value it gets in a label map; 0 counts as a class of its own where there is no map
    number: int
    name: str
    code: Code | None = None

    def is_named(self, name: str) -> bool:
        """Say whether a text is the name that is asked for, whatever its case and spaces."""
        return _plain(name) == _plain(self.name)

    def is_coded(self, codes: Sequence[Code]) -> bool:
        """Say whether one of the codes is the one asked for; SRT stands for its SCT (PS3.16)."""
        return self.code is not None and any(_is_same(self.code, code) for code in codes)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A named set of voxels, kept as the box around it."""

    name: str
    codes: tuple[Code, ...] = ()
    number: int | None = None
    #: (slice, row, column) of the first voxel of ``voxels`` on the grid of the volume
    start: tuple[int, int, int]
    #: bool (slices, rows, columns); any axis may be 0 where the region is empty
    voxels: NDArray[np.bool_] = field(repr=False)

    def mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return the region on the whole grid of a volume of this shape."""
        mask = np.zeros(shape, np.bool_)
        mask[self.place] = self.voxels
        return mask

    @property
    def place(self) -> tuple[slice, ...]:
        """Return where on the grid ``voxels`` lie."""
        pairs = zip(self.start, self.voxels.shape, strict=True)
        return tuple(slice(first, first + count) for first, count in pairs)


@dataclass(frozen=True, kw_only=True)
class LabelBox:
    """A named box, axis-aligned on the grid of the image.

    ``index_box`` holds (slice, row, column) of the first and of one past the last voxel. ``centre``
    is in LPS mm, ``size`` in mm along (slices, rows, columns); of an image without a place in the
    patient both are None.
    """

    name: str
    codes: tuple[Code, ...] = ()
    index_box: tuple[float, float, float, float, float, float]
    centre: Point | None
    size: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A judgement in words: of what, and which. Codes are None where the report has only text."""

    concept: str
    concept_code: Code | None = None
    value: str
    value_code: Code | None = None
    #: the group it was stated in, None where it is of the study as a whole
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelRead:
    """All that one or several label objects state of one volume or image."""

    shape: tuple[int, int, int]
    regions: tuple[Region, ...] = ()
    boxes: tuple[LabelBox, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    warnings: tuple[str, ...] = ()

    def label_map(self, wanted: Sequence[Wanted]) -> NDArray[np.uint8]:
        """Return one number per voxel, 0 where nothing that is asked for lies.

        Several regions that answer to one label are taken together.

        Raises:
            StudyRejected: none of the labels is there, or regions of different labels overlap.

        """
        pairs = [(one, assigned(one, wanted)) for one in self.regions]
        if not any(label for _, label in pairs):
            raise mismatch("it holds none of the labels that are asked for")
        label_map = np.zeros(self.shape, np.uint8)
        for region, label in pairs:
            if label is None:
                continue
            part = label_map[region.place]
            if not np.isin(part[region.voxels], (0, label.number)).all():
                raise invalid("regions of different labels overlap; a map has one label a voxel")
            part[region.voxels] = label.number
        return label_map

    def labelled_boxes(self, wanted: Sequence[Wanted]) -> list[tuple[Wanted, LabelBox]]:
        """Return the boxes that answer to a label.

        Raises:
            StudyRejected: there are boxes, but none that is asked for.

        """
        pairs = [(label, box) for box in self.boxes if (label := assigned(box, wanted))]
        if self.boxes and not pairs:
            raise mismatch("it holds none of the labels that are asked for")
        return pairs

    def classes(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Return the classes that the evaluations name, in order of their numbers.

        A class is named by the answer to any question, or by a question answered with yes.
        """
        named = []
        for one in self.evaluations:
            is_yes = one.value_code is not None and one.value_code.value == _YES
            code = one.concept_code if is_yes else one.value_code
            named.append((one.concept if is_yes else one.value, (code,) if code else ()))
        found = {
            label.number: label
            for name, codes in named
            if (label := answering(name, codes, wanted)) is not None
        }
        return [found[number] for number in sorted(found)]


def assigned(thing: Region | LabelBox, wanted: Sequence[Wanted]) -> Wanted | None:
    """Return the label that a region or a box answers to."""
    return answering(thing.name, thing.codes, wanted)


def answering(name: str, codes: Sequence[Code], wanted: Sequence[Wanted]) -> Wanted | None:
    """Return the label of this text, else the one of one of these codes, else None."""
    by_name = next((label for label in wanted if label.is_named(name)), None)
    return by_name or next((label for label in wanted if label.is_coded(codes)), None)


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _is_same(one: Code, other: Code) -> bool:
    return bool(
        DicomCode(one.value, one.scheme, one.meaning)
        == DicomCode(other.value, other.scheme, other.meaning)
    )
