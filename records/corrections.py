"""Corrections: what readers say of answers, and the labelled cases that come of them.

A correction is about the answer of one step about one series. It accepts the answer as it stands,
rejects it, or replaces it by a class, boxes or a mask. The latest one counts; none is ever
overwritten.
"""

from __future__ import annotations

import enum
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records import audit
from records.base import JobStatus
from records.database import now
from records.tables import Analysis, Correction, Job, JobModel, ModelVersion
from records.transitions import NoSuchRecord

#: bytes of a mask
LARGEST_MASK: Final = 64 * 2**20
MOST_BOXES: Final = 1000
#: characters of a label
LONGEST_LABEL: Final = 120
#: as manifests state the labels of a case that may have several: between them, and for none
BETWEEN: Final = "|"
NONE: Final = "-"
#: which model kinds a replacement fits
_FITS: Final = {"label": "classification", "boxes": "detection", "mask": "segmentation"}


class Verdict(enum.StrEnum):
    """What a reader says of an answer."""

    ACCEPT = "accept"
    REJECT = "reject"
    REPLACE = "replace"


class MaskForm(enum.StrEnum):
    """What kind of file a mask is."""

    DICOM_SEG = "dicom-seg"
    NIFTI = "nifti"


class CorrectionRefused(ValueError):
    """It does not fit the answer that it is about."""


@dataclass(frozen=True, kw_only=True)
class NewCorrection:
    """What a reader says. A replacement has one of ``label``, ``boxes`` and ``mask``.

    Where several labels may hold, ``label`` joins them by ``BETWEEN``; ``NONE``: none holds.
    """

    job_id: uuid.UUID
    step: str
    verdict: Verdict
    #: None: the job has one series
    series_instance_uid: str | None = None
    label: str | None = None
    #: ``{"label": ..., "centre": [x, y, z], "size": [slices, rows, columns]}`` in mm (LPS)
    boxes: Sequence[Mapping[str, Any]] | None = None
    mask: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class UpTo:
    """The corrections of an analysis up to the number of one: a set that never changes."""

    analysis: str
    number: int


def add(session: Session, new: NewCorrection, *, by: str) -> Correction:
    """Keep what a reader says.

    Raises:
        NoSuchRecord: there is no such job.
        CorrectionRefused: it does not fit the job, its model or itself.

    """
    job = session.get(Job, new.job_id)
    if job is None:
        raise NoSuchRecord("job", new.job_id)
    if job.status is not JobStatus.SUCCEEDED:
        message = f"the job is {job.status}: it gave no answer to correct"
        raise CorrectionRefused(message)
    model = _model(session, job, new.step)
    row = Correction(
        job_id=job.id,
        step=new.step,
        series_instance_uid=_series(job, new.series_instance_uid),
        verdict=new.verdict.value,
        label=new.label,
        boxes=None if new.boxes is None else [dict(box) for box in new.boxes],
        mask=new.mask,
        mask_form=None if new.mask is None else _form(new.mask).value,
        created_by=by,
        created_at=now(session),
    )
    _check(new, model)
    session.add(row)
    session.flush()
    audit.append(
        session,
        event_id="correction.added",
        action="C",
        by=by,
        object_type="job",
        object_id=job.id,
        detail={"correction": row.id, "step": row.step, "verdict": row.verdict},
    )
    return row


def of_job(session: Session, job_id: uuid.UUID) -> Sequence[Correction]:
    """Return what was said of a job, oldest first."""
    query = select(Correction).where(Correction.job_id == job_id).order_by(Correction.id)
    return session.scalars(query).all()


def count(session: Session, analysis: str, *, model: str, after: int = 0) -> tuple[int, int]:
    """Return how many series were labelled, and the number of the last correction of all.

    Of several corrections of one series the last one says whether it labels.

    Args:
        session: to read by.
        analysis: name of the analysis.
        model: name of the model whose answers are corrected.
        after: only those with a greater number.

    """
    latest = (
        select(func.max(Correction.id).label("id"))
        .join(Job, Job.id == Correction.job_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .join(JobModel, (JobModel.job_id == Job.id) & (JobModel.step == Correction.step))
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(Analysis.name == analysis, ModelVersion.name == model, Correction.id > after)
        .group_by(Correction.series_instance_uid)
        .subquery()
    )
    is_labelled = Correction.verdict != Verdict.REJECT
    query = select(func.count().filter(is_labelled), func.max(Correction.id))
    query = query.join(latest, latest.c.id == Correction.id)
    labelled, last = session.execute(query).one()
    return labelled, last or after


def _model(session: Session, job: Job, step: str) -> ModelVersion:
    query = (
        select(ModelVersion)
        .join(JobModel, JobModel.model_version_id == ModelVersion.id)
        .where(JobModel.job_id == job.id, JobModel.step == step)
    )
    found = session.scalars(query).one_or_none()
    if found is None:
        message = "the job has no step of that name"
        raise CorrectionRefused(message)
    return found


def _series(job: Job, named: str | None) -> str:
    inputs = job.plan.get("inputs", {}).values()
    chosen = {one["series_instance_uid"] for each in inputs for one in each.get("chosen", ())}
    if named is None and len(chosen) == 1:
        return str(chosen.pop())
    if named not in chosen:
        message = "name one of the series that the job was about"
        raise CorrectionRefused(message)
    return str(named)


def _check(new: NewCorrection, model: ModelVersion) -> None:
    """Hold a correction to itself and to what its model can say."""
    given = [name for name in _FITS if getattr(new, name) is not None]
    if new.verdict is not Verdict.REPLACE:
        if given:
            message = f"to {new.verdict} an answer is all there is to say"
            raise CorrectionRefused(message)
        return
    if len(given) != 1:
        message = "a replacement has one of label, boxes and mask"
        raise CorrectionRefused(message)
    if model.kind != _FITS[given[0]]:
        message = f"the step is a {model.kind}: {given[0]} cannot replace its answer"
        raise CorrectionRefused(message)
    if new.boxes is not None:
        _check_boxes(new.boxes, model)
    if new.label is not None:
        _check_label(new.label, model)


def _check_boxes(boxes: Sequence[Mapping[str, Any]], model: ModelVersion) -> None:
    if len(boxes) > MOST_BOXES:
        message = f"no more than {MOST_BOXES} boxes"
        raise CorrectionRefused(message)
    if not all(_is_box(box) for box in boxes):
        message = "a box has a label, a centre and a size of three numbers in mm, and no more"
        raise CorrectionRefused(message)
    _require_known({box["label"] for box in boxes}, model)


def _check_label(label: str, model: ModelVersion) -> None:
    if len(label) > LONGEST_LABEL:
        message = f"a label may have up to {LONGEST_LABEL} characters"
        raise CorrectionRefused(message)
    if not has_several_labels(model):
        _require_known({label}, model)
    elif label != NONE:
        _require_known(set(label.split(BETWEEN)), model)


def _require_known(stated: set[str], model: ModelVersion) -> None:
    known = {label["name"] for label in _block(model).get("labels", ())}
    if not stated <= known:
        message = f"the model knows the labels {', '.join(sorted(known))}"
        raise CorrectionRefused(message)


def has_several_labels(model: ModelVersion) -> bool:
    """Return whether any number of the labels of a classification may hold at once."""
    options: Mapping[str, Any] = _block(model).get("options", {})
    return options.get("activation") == "sigmoid"


def _block(model: ModelVersion) -> Mapping[str, Any]:
    block: Mapping[str, Any] = model.bundle_metadata.get("nightshift", {})
    return block


def _is_box(box: Mapping[str, Any]) -> bool:
    if set(box) != {"label", "centre", "size"}:
        return False
    places, sizes = box["centre"], box["size"]
    if not (isinstance(box["label"], str) and _is_triple(places) and _is_triple(sizes)):
        return False
    return all(size > 0 for size in sizes)


def _is_triple(numbers: object) -> bool:
    return (
        isinstance(numbers, list | tuple)
        and len(numbers) == 3
        and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    )


def _form(mask: bytes) -> MaskForm:
    """Tell a mask by its first bytes: PS3.10 7.1, RFC 1952, and the NIfTI-1 header of 348 bytes."""
    if len(mask) > LARGEST_MASK:
        message = f"a mask may have up to {LARGEST_MASK} bytes"
        raise CorrectionRefused(message)
    if mask[128:132] == b"DICM":
        return MaskForm.DICOM_SEG
    if mask[:2] == b"\x1f\x8b":
        return MaskForm.NIFTI
    message = "a mask is a DICOM SEG or a compressed NIfTI file (.nii.gz)"
    raise CorrectionRefused(message)
