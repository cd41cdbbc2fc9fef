"""Labelled cases out of corrections: what the trainer needs to write each of them down."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, undefer

from records.corrections import MaskForm, Verdict, has_several_labels
from records.tables import (
    Analysis,
    Artifact,
    Batch,
    Correction,
    File,
    Job,
    JobModel,
    ModelVersion,
    Result,
    Series,
    Study,
)

#: a mask: the file itself, or the digest of one in the store
Mask: TypeAlias = bytes | str


@dataclass(frozen=True, kw_only=True)
class CorrectedCase:
    """One series and what is true of it. One of ``label``, ``boxes`` and ``mask`` is there."""

    number: int
    source: str
    #: files of the series below the source
    paths: tuple[str, ...]
    study_instance_uid: str
    series_instance_uid: str
    label: str | None = None
    boxes: Sequence[Mapping[str, Any]] | None = None
    mask: Mask | None = field(default=None, repr=False)
    mask_form: MaskForm | None = None


def cases(
    session: Session, analysis: str, *, model: str, up_to: int | None = None
) -> Iterator[CorrectedCase]:
    """Yield the labelled cases of an analysis: one for each series, by its latest correction.

    A rejected answer labels nothing; an accepted one stands as it was given.

    Args:
        session: to read by.
        analysis: name of the analysis.
        model: name of the model whose answers are corrected.
        up_to: the number of the last correction that counts; None = all.

    """
    query = _corrections(analysis, model)
    if up_to is not None:
        query = query.where(Correction.id <= up_to)
    latest: dict[str, tuple[Correction, ModelVersion]] = {}
    for row in session.execute(query):
        latest[row.Correction.series_instance_uid] = (row.Correction, row.ModelVersion)
    for correction, version in latest.values():
        if correction.verdict != Verdict.REJECT:
            found = _case(session, correction, version)
            if found is not None:
                yield found


def _corrections(analysis: str, model: str) -> Select[Correction, ModelVersion]:
    return (
        select(Correction, ModelVersion)
        .join(Job, Job.id == Correction.job_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .join(JobModel, (JobModel.job_id == Job.id) & (JobModel.step == Correction.step))
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(Analysis.name == analysis, ModelVersion.name == model)
        .order_by(Correction.id)
        .options(undefer(Correction.mask))
    )


def _case(session: Session, correction: Correction, version: ModelVersion) -> CorrectedCase | None:
    """Return a case, or None where what was accepted was never written down."""
    truth = _replaced(correction)
    if correction.verdict == Verdict.ACCEPT:
        truth = _accepted(session, correction, version)
    if not truth:
        return None
    query = (
        select(Batch.source, Job.plan, Study.study_instance_uid, Series)
        .join(Job, Job.batch_id == Batch.id)
        .join(Study, Study.id == Job.study_id)
        .join(Series, Series.study_id == Study.id)
        .where(
            Job.id == correction.job_id,
            Series.series_instance_uid == correction.series_instance_uid,
        )
        .order_by(Series.part)
    )
    rows = session.execute(query).all()
    looked_at = _parts(rows[0].plan, correction.series_instance_uid)
    held = [row.Series.id for row in rows if row.Series.part in looked_at]
    files = select(File.path).where(File.series_id.in_(held))
    return CorrectedCase(
        number=correction.id,
        source=rows[0].source,
        paths=tuple(session.scalars(files.order_by(File.path))),
        study_instance_uid=rows[0].study_instance_uid,
        series_instance_uid=correction.series_instance_uid,
        **truth,
    )


def _parts(plan: Mapping[str, Any], series_instance_uid: str) -> set[int]:
    """Return the parts of a series that its job was about."""
    inputs = plan.get("inputs", {}).values()
    return {
        one["part"]
        for each in inputs
        for one in each.get("chosen", ())
        if one["series_instance_uid"] == series_instance_uid
    }


def _replaced(correction: Correction) -> dict[str, Any]:
    form = None if correction.mask_form is None else MaskForm(correction.mask_form)
    return {
        "label": correction.label,
        "boxes": correction.boxes,
        "mask": correction.mask,
        "mask_form": form,
    }


def _accepted(session: Session, correction: Correction, version: ModelVersion) -> dict[str, Any]:
    """Return the answer as it was given; empty where it was not written down."""
    if version.kind == "segmentation":
        query = select(Artifact.name, Artifact.sha256).where(
            Artifact.job_id == correction.job_id, Artifact.kind == "dicom-seg"
        )
        # of several series of one step each has a number behind the name, which tells nothing
        named = re.compile(rf"{re.escape(correction.step)}(-\d+)?\.dcm")
        digests = [sha256 for name, sha256 in session.execute(query) if named.fullmatch(name)]
        return {"mask": digests[0], "mask_form": MaskForm.DICOM_SEG} if len(digests) == 1 else {}
    rows = session.scalars(
        select(Result)
        .where(
            Result.job_id == correction.job_id,
            Result.step == correction.step,
            Result.series_instance_uid == correction.series_instance_uid,
        )
        .order_by(Result.ordinal)
    ).all()
    if version.kind == "detection":
        return {"boxes": [_box(row) for row in rows if row.kind == "detection"]}
    if has_several_labels(version):  # scores alone do not say which of them hold
        return {}
    tops = [row.label for row in rows if row.kind == "classification" and row.payload["is_top"]]
    return {"label": tops[0]} if len(tops) == 1 else {}


def _box(row: Result) -> dict[str, Any]:
    return {
        "label": row.label,
        "centre": row.payload["centre_mm"],
        "size": row.payload["size_mm"],
    }
