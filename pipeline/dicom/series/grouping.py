"""Index image instances as studies and series, with a verdict and attributes for the rules."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from pipeline.dicom import sop_classes
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.series import assembly
from pipeline.dicom.series.splitting import (
    Part,
    has_scattered_frames_of_reference,
    is_slice,
    split,
)
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

Kind: TypeAlias = Literal["volume", "image"]


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
    #: in slice order where the verdict is ok
    instances: tuple[InstanceHeader, ...] = field(repr=False)


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
    by_study: dict[str, dict[str, Part]] = defaultdict(lambda: defaultdict(list))
    for header in headers:
        by_study[header.study_instance_uid][header.series_instance_uid].append(header)
    return tuple(_study(uid, by_study[uid], lost or {}) for uid in sorted(by_study))


def _study(uid: str, by_series: Mapping[str, Part], lost: Mapping[str, Reason]) -> IndexedStudy:
    patients = {h.patient_key for part in by_series.values() for h in part}
    series: list[IndexedSeries] = []
    for series_uid in sorted(by_series, key=lambda u: (_series_number(by_series[u]), u)):
        for number, part in enumerate(split(by_series[series_uid])):
            series.append(_series(part, number, lost.get(series_uid), is_mixed=len(patients) > 1))
    return IndexedStudy(study_instance_uid=uid, series=tuple(series))


def _series_number(part: Part) -> float:
    return min((h.series_number for h in part if h.series_number is not None), default=math.inf)


def _series(part: Part, number: int, lost: Reason | None, *, is_mixed: bool) -> IndexedSeries:
    kind: Kind = "volume" if len(part) > 1 and is_slice(part[0]) else "image"
    verdict, detail, spacing, ordered = Reason.OK, None, None, list(part)
    try:
        _check(part, kind, lost, is_mixed=is_mixed)
        if kind == "volume":
            stack = assembly.stack(part)
            ordered, spacing = [part[i] for i in stack.order], stack.spacing
    except StudyRejected as rejected:
        verdict, detail = rejected.reason, rejected.sentence
    first = ordered[0]
    return IndexedSeries(
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        part=number,
        kind=kind,
        modality=first.modality,
        sop_class_uid=first.sop_class_uid,
        verdict=verdict,
        detail=detail,
        attributes=_attributes(kind, ordered, spacing),
        instances=tuple(ordered),
    )


def _check(part: Part, kind: Kind, lost: Reason | None, *, is_mixed: bool) -> None:
    if is_mixed:
        sentence = "instances of different patients share this study"
        raise StudyRejected(sentence, Reason.STUDY_MIXED_PATIENTS)
    assembly.check_kind(part[0])
    if kind == "volume" and lost is not None:
        sentence = f"a file of this series was refused ({lost}), so it may lack a slice"
        raise StudyRejected(sentence, Reason.SERIES_MISSING_SLICE)
    assembly.rescale(part)


def _attributes(
    kind: Kind, part: Sequence[InstanceHeader], spacing: tuple[float, ...] | None
) -> dict[str, Any]:
    first = part[0]
    planar = assembly.spacing_of(first)
    return {
        "kind": kind,
        "modality": first.modality,
        "sop_class": sop_classes.name_of(first.sop_class_uid),
        "series_number": first.series_number,
        "series_description": first.series_description,
        "protocol": first.protocol,
        "body_part": first.body_part,
        "image_type": list(first.image_type),
        "rows": first.rows,
        "columns": first.columns,
        "slices": len(part),
        "frames": first.frames,
        "spacing_mm": None if spacing is None else [round(s, 4) for s in spacing],
        "pixel_spacing_mm": None if planar is None else [round(s, 4) for s in planar],
        "slice_thickness_mm": _finite(first.slice_thickness),
        "orientation": _orientation(first),
        "has_geometry": first.has_geometry,
        "is_colour": first.is_colour,
        "photometric": first.photometric,
        "bits_stored": first.bits_stored,
        "transfer_syntax": sop_classes.name_of(first.transfer_syntax_uid),
        "kernel": first.kernel,
        "contrast": first.has_contrast,
        "manufacturer": first.manufacturer,
        "model_name": first.model_name,
        "field_strength_t": _finite(first.field_strength),
        "phases": dict(first.phases) if kind == "volume" else {},
        "scattered_frames_of_reference": has_scattered_frames_of_reference(part),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _orientation(header: InstanceHeader) -> str | None:
    """Name the plane of a slice; oblique where its normal is over 25 degrees off every axis."""
    if header.orientation is None or not np.isfinite(header.orientation).all():
        return None
    shares = np.abs(assembly.normal_of(header.orientation))
    axis = int(shares.argmax())
    return ("sagittal", "coronal", "axial")[axis] if shares[axis] > 0.9 else "oblique"
