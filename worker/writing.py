"""From what a study says to rows and files: results, DICOM objects, pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID

from pipeline import overlay
from pipeline.answers import Answer, StudyResult
from pipeline.dicom.writing.objects import ObjectWriter
from pipeline.dicom.writing.provenance import Provenance
from pipeline.results import Classification, Detection, Finding, Measurement, Segment
from pipeline.volume import Input, Volume
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
            rows += [
                _row(finding, answer, next(ordinals), model_id)
                for finding in answer.prediction.findings
            ]
    return rows


def _row(finding: Finding, answer: Answer, ordinal: int, model_id: UUID) -> NewResult:
    return NewResult(
        step=answer.step,
        ordinal=ordinal,
        label=finding.label,
        code=None if finding.code is None else str(finding.code),
        model_version_id=model_id,
        series_instance_uid=answer.series_instance_uid,
        **_columns(finding, answer.image),
    )


def _columns(finding: Finding, image: Input) -> Columns:
    """Return what differs by kind. Positions are millimetres, LPS; boxes are voxel indices."""
    match finding:
        case Classification():
            return {
                "kind": "classification",
                "score": finding.score,
                "payload": {"is_top": finding.is_top}
                | ({"by_frame": finding.by_frame} if finding.by_frame else {}),
            }
        case Segment():
            return {
                "kind": "segment",
                **_size(finding, image),
                "payload": {
                    "number": finding.number,
                    "voxels": finding.voxels,
                    "centroid_mm": finding.centroid,
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
                },
            }
        case Measurement():
            return {"kind": "measurement", "value": finding.value, "unit": finding.unit}


def _size(segment: Segment, image: Input) -> Columns:
    """Return how large a segment is: pixels of a single image have no volume."""
    if isinstance(image, Volume):
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
