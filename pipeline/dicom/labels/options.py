"""How label objects are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.dicom.labels.label_read import Wanted, answering
from pipeline.dicom.labels.limits import LabelLimits
from pipeline.results import Code


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is wanted, and how far to go for it."""

    #: only regions that answer to one of these; None = all
    wanted: tuple[Wanted, ...] | None = None
    #: take a segmentation on another grid by its nearest voxels instead of refusing it
    resample: bool = False
    #: share of MaximumFractionalValue from which a voxel of a FRACTIONAL segment is inside
    threshold: float = 0.5
    limits: LabelLimits = field(default_factory=LabelLimits)

    def is_wanted(self, name: str, codes: Sequence[Code]) -> bool:
        """Say whether a region of this name and these codes is to be read."""
        return self.wanted is None or answering(name, codes, self.wanted) is not None
