"""Split the instances of one series into parts that can each become one volume or one image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import numpy as np

from pipeline.dicom import sop_classes
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import PHASE_KEYWORDS
from pipeline.dicom.series.assembly import ORIENTATION_TOLERANCE, normal_of

Part: TypeAlias = list[InstanceHeader]

#: These make other images even where no position repeats: another echo, another diffusion weight.
_ALWAYS = ("EchoNumbers", "DiffusionBValue")


def split(series: Sequence[InstanceHeader]) -> list[Part]:
    """Return the parts of a series, the largest first; the same for any order of the files.

    Instances that are no slices (no place in the patient, several frames, colour) are a part
    each. Slices are parted by size, kind, orientation and spacing, and where several share a
    position, by phase; if no phase tells them apart they stay together and are refused later.
    """
    parts: list[Part] = []
    for group in _by(series, _sameness(series)):
        if not is_slice(group[0]):
            parts.extend([header] for header in group)
            continue
        for grid in _clusters(group):
            parts.extend(_phases(grid, PHASE_KEYWORDS))
    return sorted(parts, key=lambda part: (-len(part), min(h.sop_instance_uid for h in part)))


def is_slice(header: InstanceHeader) -> bool:
    """Say whether an instance is meant as one slice of a volume."""
    is_single = header.frames == 1 and not header.is_colour
    is_placed = header.sop_class_uid in sop_classes.SLICE_CLASSES or header.has_geometry
    return is_single and is_placed


def has_scattered_frames_of_reference(series: Sequence[InstanceHeader]) -> bool:
    """Say whether every instance states a frame of reference of its own.

    All images of a series share one (PS3.3 C.7.4.1). Where each has another, an anonymiser has
    replaced them one by one and they say nothing; where some share one, they really differ.
    """
    stated = Counter(h.frame_of_reference_uid for h in series)
    return len(stated) > 1 and max(stated.values()) == 1


def _sameness(series: Sequence[InstanceHeader]) -> Callable[[InstanceHeader], Hashable]:
    is_scattered = has_scattered_frames_of_reference([h for h in series if is_slice(h)])

    def key(header: InstanceHeader) -> Hashable:
        phases = dict(header.phases)
        return (
            header.sop_class_uid,
            "" if is_scattered else header.frame_of_reference_uid or "",
            *(header.rows, header.columns, header.frames, header.is_colour, is_slice(header)),
            header.image_type,
            *(phases.get(keyword, "") for keyword in _ALWAYS),
        )

    return key


def _by(headers: Sequence[InstanceHeader], key: Callable[[InstanceHeader], Hashable]) -> list[Part]:
    groups: dict[Hashable, Part] = defaultdict(list)
    for header in sorted(headers, key=lambda h: h.sop_instance_uid):
        groups[key(header)].append(header)
    return list(groups.values())


def _clusters(group: Part) -> list[Part]:
    """Part slices by orientation and spacing, within tolerances.

    What states neither, or states what is no number, joins the first cluster: it belongs to
    the series, and the check of the geometry must see it rather than lose it.
    """
    clusters: list[Part] = []
    vague: Part = []
    for header in group:
        if not _is_definite(header):
            vague.append(header)
            continue
        home = next((c for c in clusters if _is_alike(c[0], header)), None)
        if home is None:
            clusters.append([header])
        else:
            home.append(header)
    clusters.sort(key=len, reverse=True)
    if vague:
        clusters[:1] = [[*(clusters[0] if clusters else []), *vague]]
    return clusters


def _is_definite(header: InstanceHeader) -> bool:
    numbers = (header.orientation, header.pixel_spacing)
    return all(n is not None and np.isfinite(n).all() for n in numbers)


def _is_alike(one: InstanceHeader, other: InstanceHeader) -> bool:
    return np.allclose(
        one.orientation or (), other.orientation or (), rtol=0, atol=ORIENTATION_TOLERANCE
    ) and np.allclose(one.pixel_spacing or (), other.pixel_spacing or (), rtol=1e-3, atol=0)


def _phases(part: Part, keywords: Sequence[str]) -> list[Part]:
    """Part slices that share positions by the first phase under which every position is once."""
    places = _places(part)
    if len(set(places)) == len(part):
        return [part]
    for index, keyword in enumerate(keywords):
        phases = _by(part, lambda h, name=keyword: dict(h.phases).get(name, ""))  # type: ignore[misc]
        is_whole = all(set(_places(phase)) == set(places) for phase in phases)
        if len(phases) > 1 and is_whole:
            return [p for phase in phases for p in _phases(phase, keywords[index + 1 :])]
    return [part]


def _places(part: Part) -> list[float]:
    """Return the depth of each slice along the normal, to a hundredth of a millimetre."""
    if any(h.position is None or h.orientation is None for h in part):
        return [float(index) for index in range(len(part))]
    depths = [float(np.dot(h.position or (), normal_of(h.orientation or ()))) for h in part]
    if not np.isfinite(depths).all():
        return [float(index) for index in range(len(part))]
    return [round(depth, 2) for depth in depths]
