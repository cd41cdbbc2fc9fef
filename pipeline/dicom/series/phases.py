"""Tell the phases of one scan apart: the frames that share their positions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.series.frames import Frame
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason

#: whole: every phase has every position, or there is one only. mixed: this phase has them all,
#: another has not. short: this phase lacks positions that another has
Coverage: TypeAlias = Literal["whole", "mixed", "short"]

#: Frames that differ in one of these are never one volume, whether positions repeat or not:
#: another echo, another diffusion weight, phase instead of magnitude. One that gives every frame
#: a value of its own numbers the frames and tells nothing.
_KINDS: Final = ("EchoNumbers", "DiffusionBValue", "ComplexImageComponent")
#: Neither are frames of another time; and times of which none has all positions (slices acquired
#: in turns, or an index misused) are no volumes either: nothing says which slices belong together.
_TIMES: Final = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "ASLContext",
)
#: What may tell apart frames that share a position, the most telling first. A tag that does not
#: (Canon states one TemporalPositionIndex throughout) is passed over.
_KEYWORDS: Final = (
    *_KINDS,
    *_TIMES,
    "EffectiveEchoTime",
    "EchoTime",
    "InversionTimes",
    "InversionTime",
    "ConvolutionKernel",
    "KVP",
    "FrameReferenceTime",
    "TemporalPositionTimeOffset",
    "NominalCardiacTriggerDelayTime",
    "TriggerTime",
    "DiffusionDirectionality",
    "DiffusionGradientOrientation",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "DimensionIndexValues",
)
#: Times that differ from position to position: their rank at each position is the phase.
_RANKED: Final = ("NominalCardiacTriggerDelayTime", "TriggerTime", "FrameReferenceTime")
#: Frames are at one position where they are no further apart than this, in mm along the normal.
_SAME_PLACE: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The frames of one phase."""

    frames: tuple[Frame, ...]
    coverage: Coverage = "whole"
    #: how many phases there are beside each other, this one included
    count: int = 1

    def check(self, policies: Policies) -> tuple[str, ...]:
        """Return what is to be said of an incomplete series of phases that is read all the same.

        Raises:
            StudyRejected: this phase is incomplete, or another is and the policy refuses that.

        """
        if self.coverage == "short":
            sentence = "this phase lacks slices that other phases of the series have"
            raise StudyRejected(sentence, Reason.SERIES_TOO_FEW_SLICES)
        if self.coverage == "whole":
            return ()
        sentence = f"not all of the {self.count} phases of the series have all of its slices"
        if policies.partial_phase == "refuse":
            raise StudyRejected(sentence, Reason.SERIES_PARTIAL_PHASE)
        return (f"{sentence}; this one has",)


def part(frames: Sequence[Frame]) -> list[Phase]:
    """Part frames of one orientation, grid and kind by phase.

    Frames that share positions and that nothing tells apart stay together: the check of the
    geometry refuses them.
    """
    phases = [Phase(frames=tuple(frames))]
    for keyword in (*_KINDS, *_TIMES):
        phases = [p for phase in phases for p in _always(phase, keyword)]
    return [p for phase in phases for p in _where_repeated(phase)]


def _always(phase: Phase, keyword: str) -> list[Phase]:
    groups = _by(phase.frames, keyword)
    if len(groups) < 2 or max(map(len, groups)) < 2:
        return [phase]
    places = _places(phase.frames)
    parted = _judged(phase, groups, places)
    covered = [len({places[id(f)] for f in group}) for group in groups]
    is_torn = max(covered) < len(set(places.values()))
    if keyword in _TIMES and is_torn and _depths(phase.frames) is not None:
        return [replace(one, coverage="short") for one in parted]
    return parted


def _where_repeated(phase: Phase) -> list[Phase]:
    """Part a phase by what first gives every position one frame in each part."""
    places = _places(phase.frames)
    everywhere = set(places.values())
    if len(everywhere) == len(phase.frames):
        return [phase]
    choices = [_by(phase.frames, keyword) for keyword in _KEYWORDS]
    choices += [_ranked(phase.frames, keyword, places) for keyword in _RANKED]
    choices = [groups for groups in choices if len(groups) > 1]
    for groups in choices:
        if all({places[id(f)] for f in group} == everywhere for group in groups):
            parted = _judged(phase, groups, places)
            return [p for one in parted for p in _where_repeated(one)]
    for groups in choices:
        if _is_partial(groups, places, everywhere):
            return _judged(phase, groups, places)
    return [phase]


def _is_partial(
    groups: Sequence[Sequence[Frame]], places: dict[int, int], everywhere: set[int]
) -> bool:
    """Say whether some groups have every position once, and the others some of them once."""
    found = [[places[id(f)] for f in group] for group in groups]
    is_distinct = all(len(set(one)) == len(one) for one in found)
    return is_distinct and any(set(one) == everywhere for one in found)


def _judged(phase: Phase, groups: Sequence[Sequence[Frame]], places: dict[int, int]) -> list[Phase]:
    """Return groups as phases; where some are complete and some are not, say which.

    Groups that share no position, or of which none is complete, say nothing of each other.
    """
    covered = [{places[id(f)] for f in group} for group in groups]
    everywhere = set().union(*covered)
    complete = [one == everywhere for one in covered]
    count = len(groups) * phase.count
    parted = [replace(phase, frames=tuple(group), count=count) for group in groups]
    if phase.coverage == "short" or all(complete) or not any(complete):
        return parted
    return [
        replace(one, coverage="mixed" if is_complete else "short")
        for one, is_complete in zip(parted, complete, strict=True)
    ]


def _by(frames: Sequence[Frame], keyword: str) -> list[list[Frame]]:
    groups: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[frame.phases.get(keyword, "")].append(frame)
    return [groups[value] for value in sorted(groups, key=_numerically)]


def _numerically(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _ranked(frames: Sequence[Frame], keyword: str, places: dict[int, int]) -> list[list[Frame]]:
    """Group frames by the rank of a time among those at the same position; none where it cannot.

    Each heartbeat has a length of its own, so that the times of one phase differ from slice to
    slice; in their order they are the same phases.
    """
    at_place: dict[int, list[tuple[float, Frame]]] = defaultdict(list)
    for frame in frames:
        time = _numerically(frame.phases.get(keyword, ""))[0]
        at_place[places[id(frame)]].append((time, frame))
    groups: dict[int, list[Frame]] = defaultdict(list)
    for timed in at_place.values():
        times = [time for time, _ in timed]
        if not np.isfinite(times).all() or len(set(times)) < len(times):
            return []
        for rank, (_, frame) in enumerate(sorted(timed, key=lambda one: one[0])):
            groups[rank].append(frame)
    return [groups[rank] for rank in sorted(groups)]


def _places(frames: Sequence[Frame]) -> dict[int, int]:
    """Return for each frame, by its identity, the number of its position along the normal.

    Where a place is missing or no number, every frame has a position of its own: what is wrong
    with it is not for phases to say.
    """
    depths = _depths(frames)
    if depths is None:
        return {id(frame): number for number, frame in enumerate(frames)}
    order = np.argsort(depths, kind="stable")
    numbers = np.concatenate([[0], np.cumsum(np.diff(depths[order]) > _SAME_PLACE)])
    return {id(frames[int(i)]): int(n) for i, n in zip(order, numbers, strict=True)}


def _depths(frames: Sequence[Frame]) -> NDArray[np.float64] | None:
    """Return how far each frame lies along the normal in mm; None where one does not say."""
    if any(f.position is None or f.orientation is None for f in frames):
        return None
    normal = frames[0].normal
    depths = np.array([np.dot(f.position or (), normal) for f in frames], np.float64)
    return depths if np.isfinite(depths).all() else None
