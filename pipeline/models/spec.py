"""What a model states about itself: ``configs/metadata.json`` of its bundle, checked."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipeline.results import Code


class Kind(enum.StrEnum):
    """What a model answers with."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    DETECTION = "detection"
    RESTORATION = "restoration"
    THRESHOLD = "threshold"
    CLASSICAL = "classical"

    @property
    def is_learned(self) -> bool:
        """Whether it answers by weights; rules have none."""
        return self not in (Kind.THRESHOLD, Kind.CLASSICAL)

    @property
    def makes_masks(self) -> bool:
        """Whether it answers with a label map."""
        return self is Kind.SEGMENTATION or not self.is_learned


@dataclass(frozen=True, kw_only=True)
class Label:
    """One class of a model. ``number`` is the output channel (segmentation: the label value)."""

    number: int
    name: str
    code: Code | None = None
    category: Code | None = None


#: the columns of a sex, one of which is 1 (PatientSex, PS3.3 C.7.1.1)
SEXES: Final = ("F", "M", "O")


@dataclass(frozen=True, kw_only=True)
class TableValue:
    """A value of the patient that the network reads beside the image, from the series' header.

    The network is given (value - mean) / scale; of a sex three columns of 0 and 1.
    """

    #: age in years, sex, weight in kg, size in m
    name: Literal["age", "sex", "weight", "size"]
    mean: float = 0.0
    scale: float = 1.0

    @property
    def columns(self) -> int:
        """How many numbers stand for it."""
        return len(SEXES) if self.name == "sex" else 1


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What the network expects. A mismatch refuses; it is never guessed away."""

    #: allowed DICOM modalities, e.g. ("CT",)
    modalities: tuple[str, ...]
    #: 2 = a single image, 3 = a volume
    spatial_dims: int
    channels: int = 1
    #: patient directions that the network's axes point to, by MONAI's letters, e.g. "SPL" for
    #: (slices, rows, columns) of an axial series however it was acquired, "RAS" for most public
    #: bundles; None = (slices, rows, columns) as they come. A network of two axes runs over the
    #: planes of the first letter, and with this it takes volumes alone
    orientation: str | None = None
    #: mm along the network's axes; None = as it comes
    spacing: tuple[float, ...] | None = None
    #: values are clipped to this range and mapped to 0..1; None = scaled by percentiles
    window: tuple[float, float] | None = None
    #: percentiles (low, high) of the foreground mapped to 0..1 where ``window`` is None
    percentiles: tuple[float, float] = (0.5, 99.5)
    #: UCUM unit that the model's numbers are in, e.g. "g/mL" for SUV by body weight; None = none,
    #: or Hounsfield units of a CT
    unit: str | None = None
    #: network input (voxels): sliding window for segmentation, resize for classification
    size: tuple[int, ...] = ()
    #: share of neighbouring windows, 0 to below 1
    overlap: float = 0.25
    #: what the network reads of the patient beside the image, in the order of its values
    table: tuple[TableValue, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was learned of a model's scores on held-out cases, see ``pipeline.models.calibration``.

    ``scores`` are one minus that of the true label at ``temperature``, one for each case, rising.
    """

    temperature: float = 1.0
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The checked metadata of a bundle."""

    name: str
    version: str
    kind: Kind
    title: str
    input: InputSpec
    labels: tuple[Label, ...]
    #: network name in our table and its keyword arguments; None for a model without weights
    network: str | None = None
    network_arguments: Mapping[str, Any] = field(default_factory=dict)
    #: the MONAI configuration in the bundle that states network, preprocessing, inferer and
    #: postprocessing, e.g. "configs/inference.json"; None where ``network`` and ``input`` say it
    program: str | None = None
    #: score below which a detection is not reported, thresholds of a mask ... by kind
    options: Mapping[str, Any] = field(default_factory=dict)
    #: None where nobody calibrated this version
    calibration: Calibration | None = None
    #: True for the shipped demonstrations: said in every output
    is_demonstration: bool = False
    #: sha256 over every file of the bundle, in path order
    digest: str = ""

    @property
    def has_weights(self) -> bool:
        """Whether the bundle holds weights."""
        return self.kind.is_learned
