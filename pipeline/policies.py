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
ChannelGrid: TypeAlias = Literal["refuse", "resample"]

#: verdict -> the policy that can let it in
_LETTING_IN: Final = {
    Reason.SERIES_MISSING_SLICE: "missing_slice",
    Reason.SERIES_GANTRY_TILT: "gantry_tilt",
    Reason.SERIES_DUPLICATE_POSITION: "duplicate_position",
    Reason.SERIES_PARTIAL_PHASE: "partial_phase",
}


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
    #: ``resample`` brings the series of a step that reads several onto the grid of the first
    channel_grid: ChannelGrid = "refuse"
    minimum_slices: int = Field(default=3, ge=3)
    #: share by which distances between slices may differ from their median
    spacing_tolerance: float = Field(default=0.01, gt=0, le=0.2)

    @property
    def tolerated(self) -> frozenset[Reason]:
        """Return the verdicts on a series that these policies read all the same."""
        return frozenset(reason for reason in _LETTING_IN if self.letting_in(reason) is not None)

    def letting_in(self, verdict: Reason) -> str | None:
        """Return the policy that reads a series of this verdict all the same, as it is written."""
        name = _LETTING_IN.get(verdict)
        chosen = None if name is None else getattr(self, name)
        return None if chosen in (None, "refuse") else f"{name}: {chosen}"
