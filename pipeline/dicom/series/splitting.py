"""Split the instances of one series into parts that can each become one volume or one image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.series import phases
from pipeline.dicom.series.frames import Frame, frames_of, is_placed
from pipeline.dicom.series.geometry import ORIENTATION_TOLERANCE
from pipeline.dicom.series.phases import Phase
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Part:
    """The frames that become one volume or one image, and what is known of their phase."""

    phase: Phase
    #: which of the parts that one multi-frame instance splits into; 0 where it is one
    frame_part: int = 0

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The frames, in no order that means anything."""
        return self.phase.frames

    @property
    def is_of_one_instance(self) -> bool:
        """Say whether its frames are those of one instance, which has more than one."""
        return _has_placed_frames(self.frames[0].header)

    @property
    def is_volume(self) -> bool:
        """Say whether the part is meant as a volume: several slices, or one of several frames."""
        is_several = len(self.frames) > 1 or self.is_of_one_instance
        return self.frames[0].is_slice and is_several


def split(series: Sequence[InstanceHeader]) -> list[Part]:
    """Return the parts of a series, the largest first; the same for any order of the files.

    Instances that are no slices (no place in the patient, several frames without a place each,
    colour) are a part each. Slices are parted by size, kind, orientation and spacing, by what
    makes them other images, and by phase; if nothing tells slices at one position apart they
    stay together and are refused later. The frames of one instance are never put together with
    those of another.
    """
    parts: list[Part] = []
    single: list[Frame] = []
    for header in series:
        if _has_placed_frames(header):
            parts.extend(_parts_of(header))
        else:
            single.extend(frames_of(header))
    is_scattered = has_scattered_frames_of_reference([f.header for f in single if f.is_slice])
    parts.extend(Part(phase=phase) for phase in _parted(single, is_scattered=is_scattered))
    return sorted(parts, key=_size_first)


def part_of(headers: Sequence[InstanceHeader], frame_part: int) -> Part:
    """Return the part that is read from these instances: one of a multi-frame one, or all frames.

    Args:
        headers: the instances of one part, as ``split`` found it.
        frame_part: which of the parts of a multi-frame instance; 0 for classic slices.

    Raises:
        StudyRejected: several instances with many frames, or no such part.

    """
    if frame_part == 0 and not any(map(_has_placed_frames, headers)):
        frames = tuple(frame for header in headers for frame in frames_of(header))
        return Part(phase=Phase(frames=frames))
    if len(headers) != 1:
        sentence = "frames of one multi-frame instance cannot be put together with others"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    found = next((p for p in _parts_of(headers[0]) if p.frame_part == frame_part), None)
    if found is None:
        sentence = "the instance has changed since the source was scanned"
        raise StudyRejected(sentence, Reason.FILE_BAD_HEADER)
    return found


def has_scattered_frames_of_reference(series: Iterable[InstanceHeader]) -> bool:
    """Say whether every instance states a frame of reference of its own.

    All images of a series share one (PS3.3 C.7.4.1). Where each has another, an anonymiser has
    replaced them one by one and they say nothing; where some share one, they really differ.
    """
    stated = Counter(h.frame_of_reference_uid for h in series)
    return len(stated) > 1 and max(stated.values()) == 1


def _has_placed_frames(header: InstanceHeader) -> bool:
    return header.frames > 1 and not header.is_colour and is_placed(header)


def _parts_of(header: InstanceHeader) -> list[Part]:
    """Return the parts of one multi-frame instance, numbered from the largest."""
    ordered = sorted(_parted(frames_of(header), is_scattered=False), key=_first_of_largest)
    return [Part(phase=phase, frame_part=number) for number, phase in enumerate(ordered)]


def _first_of_largest(phase: Phase) -> tuple[int, int]:
    return -len(phase.frames), min(frame.number for frame in phase.frames)


def _size_first(part: Part) -> tuple[int, str, int]:
    least = min(frame.header.sop_instance_uid for frame in part.frames)
    return -len(part.frames), least, part.frame_part


def _parted(frames: Sequence[Frame], *, is_scattered: bool) -> list[Phase]:
    parts: list[Phase] = []
    for group in _by(frames, _sameness(is_scattered=is_scattered)):
        if not group[0].is_slice:
            parts.extend(Phase(frames=(frame,)) for frame in group)
            continue
        for grid in _clusters(group):
            for stack in _stacks(grid):
                parts.extend(phases.part(stack))
    return parts


def _sameness(*, is_scattered: bool) -> Callable[[Frame], Hashable]:
    def key(frame: Frame) -> Hashable:
        header = frame.header
        return (
            header.sop_class_uid,
            "" if is_scattered else header.frame_of_reference_uid or "",
            *(header.rows, header.columns, header.frames, header.is_colour, frame.is_slice),
            frame.image_type,
        )

    return key


def _stacks(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Part frames by StackID, which may differ where the planes do not (PS3.3 C.7.6.16.2.2.7).

    One that gives every frame a stack of its own tells nothing.
    """
    stacks = _by(frames, lambda frame: frame.phases.get("StackID", ""))
    return stacks if max(map(len, stacks)) > 1 else [list(frames)]


def _by(frames: Sequence[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda f: (f.header.sop_instance_uid, f.number)):
        groups[key(frame)].append(frame)
    return list(groups.values())


def _clusters(group: Sequence[Frame]) -> list[list[Frame]]:
    """Part slices by orientation and spacing, within tolerances.

    What states neither, or states what is no number, joins the first cluster: it belongs to
    the series, and the check of the geometry must see it rather than lose it.
    """
    clusters: list[list[Frame]] = []
    vague: list[Frame] = []
    for frame in group:
        if not _is_definite(frame):
            vague.append(frame)
            continue
        home = next((c for c in clusters if _is_alike(c[0], frame)), None)
        if home is None:
            clusters.append([frame])
        else:
            home.append(frame)
    clusters.sort(key=len, reverse=True)
    if vague:
        clusters[:1] = [[*(clusters[0] if clusters else []), *vague]]
    return clusters


def _is_definite(frame: Frame) -> bool:
    numbers = (frame.orientation, frame.pixel_spacing)
    return all(n is not None and np.isfinite(n).all() for n in numbers)


def _is_alike(one: Frame, other: Frame) -> bool:
    """Compare with plain floats: a series of radial slices makes as many clusters as slices."""
    turned = zip(one.orientation or (), other.orientation or (), strict=True)
    stretched = zip(one.pixel_spacing or (), other.pixel_spacing or (), strict=True)
    return all(abs(a - b) <= ORIENTATION_TOLERANCE for a, b in turned) and all(
        abs(a - b) <= 1e-3 * abs(b) for a, b in stretched
    )
