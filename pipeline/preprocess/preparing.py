"""Inputs made ready by a chain of image steps, and the way of what is said of them back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.aligning import header_on
from pipeline.errors import ModelMismatch
from pipeline.models import measures
from pipeline.models.spec import Label
from pipeline.preprocess.raster import Checkpoint, Raster
from pipeline.preprocess.sampling import sampled
from pipeline.preprocess.steps import ImageStep
from pipeline.results import DerivedImage, Detection, Finding, Prediction, Segment
from pipeline.volume import Image, Input, Volume


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An image that steps made of another, which answers are to lie on."""

    source: Input = field(repr=False)
    image: Input = field(repr=False)
    #: (4, 4), from the index on ``image`` to that on ``source``
    matrix: NDArray[np.float64]
    #: what was done: JSON values, no patient data
    steps: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def is_same_grid(self) -> bool:
        """Whether no voxel was moved."""
        same = shape_of(self.image) == shape_of(self.source)
        return same and bool((self.matrix == np.eye(4)).all())

    def forth(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask on the source's grid on that of the image: each voxel takes the nearest."""
        there = sampled(mask.view(np.uint8), self.matrix, shape_of(self.image), order=0)
        return there.view(np.bool_)

    def back(self, prediction: Prediction) -> Prediction:
        """Return what was said of the image, on the grid of the source.

        Each voxel of a label map takes the nearest, each of a map lies linearly between those
        about it; where the image has none, they are 0. Segments are measured again. What is
        stated in millimetres of the patient stays as it is, and so does a derived image, which
        has a place of its own; only one without a place is laid back.
        """
        if self.is_same_grid:
            return prediction
        label_map = prediction.label_map
        laid = None if label_map is None else self._laid(label_map, order=0)
        return replace(
            prediction,
            findings=tuple(self._finding(one, laid) for one in prediction.findings),
            label_map=laid,
            maps=tuple(
                replace(one, values=self._laid(one.values, order=1)) for one in prediction.maps
            ),
            derived=tuple(map(self._derived, prediction.derived)),
        )

    def mask(self) -> NDArray[np.uint8]:
        """Return the mask that the steps ended in, 0 and 1, on the grid of the source."""
        mask = _array_of(self.image)
        return mask if self.is_same_grid else self._laid(mask, order=0)

    def report(self) -> dict[str, Any]:
        """Return what was done and on which grid it ended, JSON values."""
        spacing = self.image.spacing
        return {
            "steps": list(self.steps),
            "shape": list(shape_of(self.image)),
            "spacing_mm": None if spacing is None else [round(one, 6) for one in spacing],
            "seconds": round(self.seconds, 4),
        }

    def _laid(self, array: NDArray[Any], *, order: int) -> NDArray[Any]:
        way = np.linalg.inv(self.matrix).astype(np.float64)
        return sampled(array, way, shape_of(self.source), order=order)

    def _finding(self, finding: Finding, label_map: NDArray[np.uint8] | None) -> Finding:
        match finding:
            case Detection():
                return self._detection(finding)
            case Segment() if label_map is not None:
                label = Label(
                    number=finding.number,
                    name=finding.label,
                    code=finding.code,
                    category=finding.category,
                )
                return measures.segments(label_map, self.source, (label,))[0]
        return finding

    def _detection(self, found: Detection) -> Detection:
        """Return a box by its corners: borders of voxels lie half a voxel before their centres."""
        corners = np.reshape(found.index_box, (2, 3)) - 0.5
        moved = corners @ self.matrix[:3, :3].T + self.matrix[:3, 3] + 0.5
        (a, b, c), (d, e, f) = np.sort(moved, axis=0).tolist()
        size = found.size
        if size is not None:
            along = np.abs(self.matrix[:3, :3]).argmax(axis=1)
            size = (size[along[0]], size[along[1]], size[along[2]])
        return replace(found, index_box=(a, b, c, d, e, f), size=size)

    def _derived(self, derived: DerivedImage) -> DerivedImage:
        is_laid = derived.affine is None and derived.values.shape[:3] == shape_of(self.image)
        if isinstance(self.source, Volume) or not is_laid:
            return derived
        return replace(derived, values=self._laid(derived.values, order=1))


def prepare(source: Input, steps: Sequence[ImageStep], *, checkpoint: Checkpoint) -> Prepared:
    """Run a chain of steps on an input.

    Args:
        source: a volume or image.
        steps: they follow each other on such an input: ``steps.faults`` was asked.
        checkpoint: called between steps and, by most, between slices.

    Raises:
        ModelMismatch: the image is not what a step can work on; the step is named.
        Interrupted, DeadlineExceeded: by ``checkpoint``.

    """
    began, raster, done = time.perf_counter(), _raster(source), []
    for one in steps:
        checkpoint()
        try:
            raster = one.step.apply(raster, checkpoint)
        except ModelMismatch as mismatch:
            raise ModelMismatch(f"{one.name}: {mismatch.sentence}", mismatch.reason) from None
        done.append({"step": one.name, "parameters": one.parameters(), "found": dict(raster.found)})
    return Prepared(
        source=source,
        image=_image(raster),
        matrix=raster.matrix,
        steps=tuple(done),
        warnings=raster.warnings,
        seconds=time.perf_counter() - began,
    )


def shape_of(image: Input) -> tuple[int, int, int]:
    """Return (slices or frames, rows, columns)."""
    array = _array_of(image)
    return array.shape[0], array.shape[1], array.shape[2]


def _array_of(image: Input) -> NDArray[Any]:
    return image.stored if isinstance(image, Volume) else image.pixels


def _raster(source: Input) -> Raster:
    array = _array_of(source)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelMismatch("the image holds values that are not finite")
    made = Raster(array=array, source=source, matrix=np.eye(4), unit=source.unit)
    if isinstance(source, Volume):
        return replace(made, slope=source.slope, intercept=source.intercept)
    return made


def _image(raster: Raster) -> Input:
    """Return the last raster as an input like any other."""
    source = raster.source
    warnings = (*source.warnings, *raster.warnings)
    if isinstance(source, Image):
        has_spacing = source.spacing is not None
        spacing = raster.spacing[1:] if has_spacing else None
        pixels = np.ascontiguousarray(raster.array)
        return replace(source, pixels=pixels, unit=raster.unit, spacing=spacing, warnings=warnings)
    header, regridding = source.header, source.regridding
    if raster.shape != source.stored.shape or not (raster.matrix == np.eye(4)).all():
        regridding = None
        if header is not None:
            header = header_on(source, header, raster.matrix, raster.shape)
    return replace(
        source,
        stored=raster.array,
        affine=source.affine @ raster.matrix,
        slope=raster.slope,
        intercept=raster.intercept,
        unit=raster.unit,
        header=header,
        regridding=regridding,
        warnings=warnings,
    )
