"""Cut a volume to the box of a mask, and lay what was answered there back on the whole grid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.results import DerivedImage, Detection, Finding, Prediction, Segment
from pipeline.volume import SourceHeader, Volume

N = TypeVar("N", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a grid: the first and one past the last voxel along (slices, rows, columns)."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (slices, rows, columns)."""
        (a, b, c), (d, e, f) = self.start, self.stop
        return d - a, e - b, f - c

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """The box as an index into an array on the whole grid."""
        (a, b, c), (d, e, f) = self.start, self.stop
        return slice(a, d), slice(b, e), slice(c, f)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A box of a volume: what is cut out of it, and the way back."""

    whole: Volume
    box: Box

    def cut(self) -> Volume:
        """Return the voxels of the box as a volume, at the same place in the patient.

        Of a regridded volume, whose slices are not those of the source, each slice is given the
        nearest slice of the source. The way back to the source is that of the whole volume.
        """
        header = self.whole.header
        return dataclasses.replace(
            self.whole,
            stored=self.whole.stored[self.box.parts],
            affine=self._affine(),
            header=None if header is None else self._header(header),
            regridding=None,
        )

    def paste(self, prediction: Prediction) -> Prediction:
        """Return what was said of ``cut()``, on the grid of the whole.

        Outside of the box label maps and maps are 0: nothing was looked for there. What is
        stated in millimetres of the patient stays as it is. A derived image on the grid of the
        box is laid into the values of the source, so that its series is whole; one on a grid of
        its own stays there. Scores by slice are those of the slices of the box.
        """
        label_map = prediction.label_map
        return dataclasses.replace(
            prediction,
            findings=tuple(map(self._shifted, prediction.findings)),
            label_map=None if label_map is None else self._laid(label_map),
            maps=tuple(
                dataclasses.replace(one, values=self._laid(one.values)) for one in prediction.maps
            ),
            derived=tuple(map(self._completed, prediction.derived)),
        )

    def report(self) -> dict[str, Any]:
        """Return the box in voxels and in the patient, JSON values.

        ``first_mm`` is the centre of its first voxel in LPS, ``size_mm`` runs along
        (slices, rows, columns).
        """
        size = np.array(self.box.shape) * self.whole.spacing
        return {
            "box": [*self.box.start, *self.box.stop],
            "first_mm": [round(float(one), 3) for one in self._affine()[:3, 3]],
            "size_mm": [round(float(one), 3) for one in size],
        }

    def _affine(self) -> NDArray[np.float64]:
        affine = self.whole.affine.copy()
        affine[:3, 3] = self.whole.to_patient(np.array(self.box.start, float))
        return affine

    def _header(self, header: SourceHeader) -> SourceHeader:
        instances, way = header.instances, self.whole.regridding
        if way is not None:
            places = np.array(way.slices)
            nearest = (np.abs(places - n).argmin() for n in range(self.whole.stored.shape[0]))
            instances = tuple(instances[int(one)] for one in nearest)
        return dataclasses.replace(header, instances=instances[self.box.parts[0]])

    def _shifted(self, finding: Finding) -> Finding:
        if not isinstance(finding, Detection):
            return finding
        (s, r, c), (a, b, d, e, f, g) = self.box.start, finding.index_box
        return dataclasses.replace(finding, index_box=(a + s, b + r, d + c, e + s, f + r, g + c))

    def _laid(self, values: NDArray[N]) -> NDArray[N]:
        laid = np.zeros(self.whole.stored.shape, values.dtype)
        laid[self.box.parts] = values
        return laid

    def _completed(self, derived: DerivedImage) -> DerivedImage:
        if derived.affine is None or derived.values.shape != self.box.shape:
            return derived
        if not np.allclose(derived.affine, self._affine()):
            return derived
        values = self.whole.values()
        values[self.box.parts] = derived.values
        return dataclasses.replace(derived, values=values, affine=self.whole.affine)


def mask_of(prediction: Prediction, segments: Collection[str] | None) -> NDArray[np.bool_]:
    """Return where a prediction has one of these segments, or any.

    Raises:
        LookupError: the prediction has no label map, or none of its segments has that label.

    """
    if prediction.label_map is None:
        raise LookupError("it makes no mask")
    if segments is None:
        return np.asarray(prediction.label_map != 0)
    known = {f.label: f.number for f in prediction.findings if isinstance(f, Segment)}
    if unknown := [label for label in segments if label not in known]:
        raise LookupError(f"it knows no segment {', '.join(unknown)}")
    return np.isin(prediction.label_map, [known[label] for label in segments])


def box_around(
    mask: NDArray[np.bool_], volume: Volume, *, margin_mm: float, minimum_voxels: int
) -> Box | None:
    """Return the smallest box around a mask, widened, within the grid. None: the mask is empty.

    Args:
        mask: (slices, rows, columns) on the grid of ``volume``.
        volume: for its spacing.
        margin_mm: added on every side, rounded up to whole voxels.
        minimum_voxels: along each axis, as far as the grid goes.

    """
    start, stop = [], []
    for axis, (count, spacing) in enumerate(zip(mask.shape, volume.spacing, strict=True)):
        others = tuple(one for one in range(3) if one != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        if inside.size == 0:
            return None
        more = math.ceil(margin_mm / spacing - 1e-9)
        first, last = _widened(int(inside[0]) - more, int(inside[-1]) + 1 + more, minimum_voxels)
        start.append(max(0, min(first, count - minimum_voxels)))
        stop.append(min(count, max(last, minimum_voxels)))
    return Box(start=_three(start), stop=_three(stop))


def _widened(first: int, last: int, least: int) -> tuple[int, int]:
    missing = max(0, least - (last - first))
    return first - missing // 2, last + missing - missing // 2


def _three(values: list[int]) -> tuple[int, int, int]:
    a, b, c = values
    return a, b, c
