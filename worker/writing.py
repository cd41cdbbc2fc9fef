"""From what a study says to rows and files: results, DICOM objects, pictures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID

from pipeline import overlay
from pipeline.answers import Answer, StudyResult
from pipeline.dicom.frame_times import frame_times
from pipeline.dicom.writing.objects import ObjectWriter
from pipeline.dicom.writing.provenance import Provenance
from pipeline.results import Classification, Detection, Finding, Measurement, Segment
from pipeline.volume import Image, Input, Volume
from records.jobs import NewArtifact, NewResult
from records.orders import JobOrder
from worker import metrics
from worker.store import Store
from worker.versions import NIGHTSHIFT

Columns: TypeAlias = Mapping[str, Any]


def results(result: StudyResult, order: JobOrder) -> list[NewResult]:
    """Return one row per finding, numbered within its step."""
    rows = []
    for step in dict.fromkeys(answer.step for answer in result.answers):
        ordinals = count()
        model_id = order.models[step].id
        for answer in result.of(step):
            shown = _Shown(answer.image)
            rows += [
                _row(finding, shown, answer, next(ordinals), model_id)
                for finding in answer.prediction.findings
            ]
    return rows


class _Shown:
    """The image that a statement is about, and when its frames were taken."""

    def __init__(self, image: Input) -> None:
        self.is_volume = isinstance(image, Volume)
        self.is_loop = isinstance(image, Image) and len(image.pixels) > 1
        self.times = frame_times(image)

    def frames(self, numbers: Sequence[int]) -> Columns:
        """Return which frames, from 1, and their seconds from the first where those are known."""
        if not (self.is_loop and numbers):
            return {}
        times = {"times_s": [self.times[number - 1] for number in numbers]} if self.times else {}
        return {"frames": list(numbers), **times}


def _row(
    finding: Finding, shown: _Shown, answer: Answer, ordinal: int, model_id: UUID
) -> NewResult:
    return NewResult(
        step=answer.step,
        ordinal=ordinal,
        label=finding.label,
        code=None if finding.code is None else str(finding.code),
        model_version_id=model_id,
        series_instance_uid=answer.series_instance_uid,
        **_columns(finding, shown),
    )


def _columns(finding: Finding, shown: _Shown) -> Columns:
    """Return what differs by kind. Positions are millimetres, LPS; boxes are voxel indices.

    Of a loop it is said which frames a statement is about.
    """
    match finding:
        case Classification():
            return {
                "kind": "classification",
                "score": finding.score,
                "payload": {"is_top": finding.is_top, **_by_frame(finding.by_frame, shown)},
            }
        case Segment():
            return {
                "kind": "segment",
                **_size(finding, shown),
                "payload": {
                    "number": finding.number,
                    "voxels": finding.voxels,
                    "centroid_mm": finding.centroid,
                    **shown.frames(finding.frames),
                },
            }
        case Detection():
            return {
                "kind": "detection",
                "score": finding.score,
                "payload": {
                    "index_box": finding.index_box,
                    "centre_mm": finding.centre,
                    "size_mm": finding.size,
                    **shown.frames(_crossed(finding)),
                },
            }
        case Measurement():
            return {"kind": "measurement", "value": finding.value, "unit": finding.unit}


def _by_frame(scores: Sequence[float], shown: _Shown) -> Columns:
    """Return the score of every frame, or of every slice of a volume that was read by slices."""
    if not scores:
        return {}
    kept = {"by_frame": [round(score, 6) for score in scores]}
    return {**kept, **shown.frames(range(1, len(scores) + 1))}


def _crossed(box: Detection) -> range:
    """Return the frames, from 1, that a box lies on."""
    first, end = box.index_box[0], box.index_box[3]
    return range(math.floor(first) + 1, math.ceil(end) + 1)


def _size(segment: Segment, shown: _Shown) -> Columns:
    """Return how large a segment is: pixels of a single image have no volume."""
    if shown.is_volume:
        return {"value": segment.volume_ml, "unit": "mL"}
    return {"value": float(segment.voxels), "unit": "pixels"}


@dataclass(frozen=True)
class _File:
    name: str
    kind: str
    media_type: str
    data: bytes


def artifacts(
    result: StudyResult, order: JobOrder, outputs: Collection[str], store: Store
) -> list[NewArtifact]:
    """Put every file that the analysis asks for into the store.

    Raises:
        DiskFull: no room.

    """
    rows = []
    for answer in result.answers:
        for file in _files(answer, order, outputs):
            sha256 = store.put(file.data)
            metrics.STORE_BYTES.inc(len(file.data))
            rows.append(
                NewArtifact(
                    name=file.name,
                    kind=file.kind,
                    media_type=file.media_type,
                    sha256=sha256,
                    size=len(file.data),
                )
            )
    return rows


def _files(answer: Answer, order: JobOrder, outputs: Collection[str]) -> Iterator[_File]:
    name = answer.step if answer.position == 0 else f"{answer.step}-{answer.position + 1}"
    writer = ObjectWriter(
        source=answer.image,
        prediction=answer.prediction,
        provenance=_provenance(answer, order),
        name=name,
    )
    for written in writer.write(outputs):
        yield _File(written.name, written.kind, "application/dicom", written.data)
    if "overlay" in outputs:
        for picture in overlay.render(answer.image, answer.prediction, name=name):
            yield _File(picture.name, "overlay", picture.media_type, picture.data)


def _provenance(answer: Answer, order: JobOrder) -> Provenance:
    return Provenance(
        job_id=str(order.job_id),
        step=answer.step,
        source=_source(answer),
        model_name=answer.model.name,
        model_version=answer.model.version,
        model_digest=answer.model.digest,
        is_learned=answer.model.kind.is_learned,
        is_demonstration=answer.model.is_demonstration,
        software_version=NIGHTSHIFT,
        created_at=order.created_at,
    )


def _source(answer: Answer) -> str:
    """Name an input by its series, first instance and frame: a rerun names it alike."""
    header = answer.image.header
    if header is None:
        return ""
    first = header.instances[0]
    return f"{header.series_instance_uid}/{first.sop_instance_uid}/{first.frame or 0}"
