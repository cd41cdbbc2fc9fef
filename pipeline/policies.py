"""What to do where the honest default is to refuse. Set per analysis, kept in the run report."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.reasons import Reason

_STRICT: Final = ConfigDict(extra="forbid")

MissingSlice: TypeAlias = Literal["refuse", "longest_run", "resample"]
GantryTilt: TypeAlias = Literal["refuse", "resample"]
DuplicatePosition: TypeAlias = Literal["refuse", "first"]
PartialPhase: TypeAlias = Literal["refuse", "whole"]
Pet: TypeAlias = Literal["suv", "stated"]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Policies:
    """How a series that is not plainly sound may be read. Every default refuses."""

    #: ``longest_run`` reads the longest part without a gap; ``resample`` fills the gaps by
    #: linear interpolation between their neighbours
    missing_slice: MissingSlice = "refuse"
    #: ``resample`` shifts the slices of a sheared stack so that they lie above each other
    gantry_tilt: GantryTilt = "refuse"
    #: ``first`` keeps, of slices at one position, the one with the least InstanceNumber
    duplicate_position: DuplicatePosition = "refuse"
    #: ``whole`` keeps the complete volumes of an aborted series of several phases
    partial_phase: PartialPhase = "refuse"
    #: PET values as SUV by body weight (g/mL), or in the unit that the series states
    pet: Pet = "suv"
    minimum_slices: int = Field(default=3, ge=3)
    #: share by which distances between slices may differ from their median
    spacing_tolerance: float = Field(default=0.01, gt=0, le=0.2)

    @property
    def tolerated(self) -> frozenset[Reason]:
        """Return the verdicts on a series that these policies read all the same."""
        tolerated = {
            Reason.SERIES_MISSING_SLICE: self.missing_slice != "refuse",
            Reason.SERIES_GANTRY_TILT: self.gantry_tilt != "refuse",
            Reason.SERIES_DUPLICATE_POSITION: self.duplicate_position != "refuse",
            Reason.SERIES_PARTIAL_PHASE: self.partial_phase != "refuse",
        }
        return frozenset(reason for reason, is_read in tolerated.items() if is_read)
