"""Index image instances as studies and series, with a verdict and attributes for the rules."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from pipeline.dicom import sop_classes
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.series import assembly
from pipeline.dicom.series.assembly import Stack
from pipeline.dicom.series.frames import Frame
from pipeline.dicom.series.kinds import check_kind
from pipeline.dicom.series.rescaling import rescale
from pipeline.dicom.series.splitting import Part, has_scattered_frames_of_reference, split
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason

Kind: TypeAlias = Literal["volume", "image"]

_STRICT: Final = Policies()
#: What the slices of a refused series would make where every policy reads it.
_LENIENT: Final = Policies(
    missing_slice="longest_run",
    gantry_tilt="resample",
    duplicate_position="first",
    partial_phase="whole",
)


@dataclass(frozen=True, kw_only=True)
class IndexedSeries:
    """One part of a DICOM series: what one volume or one image is read from."""

    study_instance_uid: str
    series_instance_uid: str
    #: 0, 1 ... where one series was split, the largest part first
    part: int
    #: what ``reading.read`` makes of it
    kind: Kind
    modality: str
    sop_class_uid: str
    verdict: Reason
    detail: str | None
    #: what selection rules may ask, JSON values only, no patient data
    attributes: Mapping[str, Any]
    #: the distinct instances, in slice order where a volume could be made of them
    instances: tuple[InstanceHeader, ...] = field(repr=False)
    #: what the volume or image is made of, in the same order
    frames: tuple[Frame, ...] = field(repr=False, default=())
    #: which of the parts that one multi-frame instance splits into; 0 where it is one
    frame_part: int = 0


@dataclass(frozen=True, kw_only=True)
class IndexedStudy:
    """The series of one study, ordered by number and UID."""

    study_instance_uid: str
    series: tuple[IndexedSeries, ...]


def index(
    headers: Iterable[InstanceHeader], lost: Mapping[str, Reason] | None = None
) -> tuple[IndexedStudy, ...]:
    """Group headers into studies and series.

    Args:
        headers: accepted instances, each SOPInstanceUID once.
        lost: SeriesInstanceUID -> why a file of that series was refused. A volume must not be
            read from the rest as if it were whole.

    """
    by_study: dict[str, dict[str, list[InstanceHeader]]] = defaultdict(lambda: defaultdict(list))
    for header in headers:
        by_study[header.study_instance_uid][header.series_instance_uid].append(header)
    return tuple(_study(uid, by_study[uid], lost or {}) for uid in sorted(by_study))


def _study(
    uid: str, by_series: Mapping[str, list[InstanceHeader]], lost: Mapping[str, Reason]
) -> IndexedStudy:
    is_mixed = _are_mixed({h.patient_key for headers in by_series.values() for h in headers})
    series: list[IndexedSeries] = []
    for series_uid in sorted(by_series, key=lambda u: (_series_number(by_series[u]), u)):
        for number, part in enumerate(split(by_series[series_uid])):
            series.append(_series(part, number, lost.get(series_uid), is_mixed=is_mixed))
    return IndexedStudy(study_instance_uid=uid, series=tuple(series))


def _are_mixed(patient_keys: AbstractSet[str]) -> bool:
    """Say whether keys are of different patients.

    An issuer that is not stated is no other issuer: archives add it to some objects of a study
    and not to the rest.
    """
    ids = {key.partition("/")[0] for key in patient_keys}
    issued = {key for key in patient_keys if "/" in key}
    return len(ids) > 1 or len(issued) > 1


def _series_number(headers: Sequence[InstanceHeader]) -> float:
    return min((h.series_number for h in headers if h.series_number is not None), default=math.inf)


def _series(part: Part, number: int, lost: Reason | None, *, is_mixed: bool) -> IndexedSeries:
    kind: Kind = "volume" if part.is_volume else "image"
    verdict, detail, stack = _judged(part, lost, is_mixed=is_mixed)
    frames = part.frames if stack is None else _ordered(part, stack)
    first = frames[0].header
    return IndexedSeries(
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        part=number,
        kind=kind,
        modality=first.modality,
        sop_class_uid=first.sop_class_uid,
        verdict=verdict,
        detail=detail,
        attributes=_attributes(kind, part, frames, stack),
        instances=tuple({id(f.header): f.header for f in frames}.values()),
        frames=frames,
        frame_part=part.frame_part,
    )


def _judged(
    part: Part, lost: Reason | None, *, is_mixed: bool
) -> tuple[Reason, str | None, Stack | None]:
    """Return the strict verdict on a part, its sentence, and the stack its slices can make."""
    try:
        _check(part, lost, is_mixed=is_mixed)
        stack = assembly.stack(part.frames, policies=_STRICT) if part.is_volume else None
    except StudyRejected as rejected:
        return rejected.reason, rejected.sentence, _lenient_stack(part)
    return Reason.OK, None, stack


def _check(part: Part, lost: Reason | None, *, is_mixed: bool) -> None:
    if is_mixed:
        sentence = "instances of different patients share this study"
        raise StudyRejected(sentence, Reason.STUDY_MIXED_PATIENTS)
    check_kind(part.frames[0])
    if part.is_volume and lost is not None and not part.is_of_one_instance:
        sentence = f"a file of this series was refused ({lost}), so it may lack a slice"
        raise StudyRejected(sentence, Reason.SERIES_MISSING_SLICE)
    part.phase.check(_STRICT)
    rescale(part.frames)


def _lenient_stack(part: Part) -> Stack | None:
    """Return what a volume would be made of where every policy reads it, or None."""
    try:
        return assembly.stack(part.frames, policies=_LENIENT) if part.is_volume else None
    except StudyRejected:
        return None


def _ordered(part: Part, stack: Stack) -> tuple[Frame, ...]:
    """Return every frame: those of the volume in slice order, then what was left out of it."""
    left_out = sorted(set(range(len(part.frames))) - set(stack.order))
    return tuple(part.frames[i] for i in (*stack.order, *left_out))


def _attributes(
    kind: Kind, part: Part, frames: Sequence[Frame], stack: Stack | None
) -> dict[str, Any]:
    frame, first = frames[0], frames[0].header
    spacing, planar = None if stack is None else stack.spacing, frame.spacing
    attributes = {
        "kind": kind,
        "modality": first.modality,
        "sop_class": sop_classes.name_of(first.sop_class_uid),
        "series_number": first.series_number,
        "series_description": first.series_description,
        "protocol": first.protocol,
        "body_part": first.body_part,
        "image_type": list(frame.image_type),
        "rows": first.rows,
        "columns": first.columns,
        "slices": len(frames),
        # of one image: the frames of a volume are its slices, be they files or not
        "frames": first.frames if kind == "image" else 1,
        "spacing_mm": None if spacing is None else [round(s, 4) for s in spacing],
        "pixel_spacing_mm": None if planar is None else [round(s, 4) for s in planar],
        "slice_thickness_mm": _finite(frame.slice_thickness),
        "orientation": _orientation(frame),
        "has_geometry": frame.position is not None and frame.orientation is not None,
        "is_colour": first.is_colour,
        "photometric": first.photometric,
        "bits_stored": first.bits_stored,
        "transfer_syntax": sop_classes.name_of(first.transfer_syntax_uid),
        "kernel": first.kernel or frame.phases.get("ConvolutionKernel", ""),
        "contrast": first.has_contrast,
        "manufacturer": first.manufacturer,
        "model_name": first.model_name,
        "field_strength_t": _finite(first.field_strength),
        "units": first.units,
        "phases": dict(frame.phases) if kind == "volume" else {},
        "phase_count": part.phase.count,
        "scattered_frames_of_reference": has_scattered_frames_of_reference(
            f.header for f in frames if not part.is_of_one_instance
        ),
    }
    if part.frame_part:
        # the file of the instance is listed with its first part
        attributes |= {
            "frame_part": part.frame_part,
            "sop_instance_uid": first.sop_instance_uid,
        }
    return attributes


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _orientation(frame: Frame) -> str | None:
    """Name the plane of a slice; oblique where its normal is over 25 degrees off every axis.

    The names are those of people who stand: of an animal on four legs no plane is named.
    """
    if frame.orientation is None or not np.isfinite(frame.orientation).all():
        return None
    if frame.header.is_quadruped:
        return None
    shares = np.abs(frame.normal)
    axis = int(shares.argmax())
    return ("sagittal", "coronal", "axial")[axis] if shares[axis] > 0.9 else "oblique"
