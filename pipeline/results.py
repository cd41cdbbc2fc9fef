"""What a predictor states: frozen values with units. Positions are patient coordinates, LPS, mm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Point: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept, e.g. scheme 'SCT', value '39607008', meaning 'Lung'."""

    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        """Return ``scheme:value``, as the tables show it."""
        return f"{self.scheme}:{self.value}"


@dataclass(frozen=True, kw_only=True)
class Classification:
    """A label with its score (probability, 0 to 1). ``is_top`` marks the most likely of its set."""

    label: str
    score: float
    code: Code | None = None
    is_top: bool = False
    #: the score of each frame or slice, in order, that ``score`` was joined from; empty unless kept
    by_frame: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One labelled region of a label map."""

    number: int
    label: str
    voxels: int
    volume_ml: float
    #: mean of the voxel centres; None where the segment is empty
    centroid: Point | None
    #: numbers from 1 of the frames that show it, of an image of several; empty of a volume
    frames: tuple[int, ...] = ()
    code: Code | None = None
    category: Code | None = None


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A box with a score. The box is axis-aligned on the source grid.

    ``index_box`` holds (slice, row, column) of the first and of one past the last voxel:
    (s0, r0, c0, s1, r1, c1), float. ``centre`` and ``size`` are in mm; ``size`` runs along
    (slices, rows, columns). For an image without place in the patient both are None.
    """

    label: str
    score: float
    index_box: tuple[float, float, float, float, float, float]
    centre: Point | None
    size: tuple[float, float, float] | None
    code: Code | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number with a UCUM unit."""

    label: str
    value: float
    unit: str
    code: Code | None = None


@dataclass(frozen=True, kw_only=True)
class ValueMap:
    """A number per voxel: a probability, a heat map, an uncertainty."""

    name: str
    #: float32 on the grid of the input, (slices, rows, columns)
    values: NDArray[np.float32] = field(repr=False)
    #: UCUM
    unit: str = "1"
    code: Code | None = None
    #: number of the segment whose probability this is; None for every other map
    segment: int | None = None


@dataclass(frozen=True, kw_only=True)
class DerivedImage:
    """An image computed from the input: denoised, of higher resolution, enhanced.

    ``values`` is in the unit of the input, (slices, rows, columns), any grid: ``affine`` maps its
    index to LPS mm. For an image without place in the patient ``affine`` is None.
    """

    name: str
    values: NDArray[np.float32] = field(repr=False)
    affine: NDArray[np.float64] | None
    code: Code | None = None


Finding: TypeAlias = Classification | Segment | Detection | Measurement


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """All that one predictor says of one input."""

    findings: tuple[Finding, ...]
    #: uint8 (slices, rows, columns) on the grid of the input; None unless segmentation
    label_map: NDArray[np.uint8] | None = field(default=None, repr=False)
    maps: tuple[ValueMap, ...] = ()
    derived: tuple[DerivedImage, ...] = ()
    #: options that were really used: device, dtype, window batch, step-downs ...
    options: Mapping[str, object] = field(default_factory=dict)
    #: stage -> seconds
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
