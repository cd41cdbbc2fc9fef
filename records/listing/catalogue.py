"""Analyses and model versions as readers see them. Where a bundle lies is not shown."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.base import Stage, Withdrawal
from records.listing.paging import AnyRow, Order, Page, Window, page
from records.tables import Analysis, ModelVersion

ANALYSES: Final = Order(
    listing="analyses",
    columns=(Analysis.name, Analysis.created_at, Analysis.id),
    newest_first=False,
)
MODELS: Final = Order(
    listing="models",
    columns=(ModelVersion.name, ModelVersion.created_at, ModelVersion.id),
    newest_first=False,
)


@dataclass(frozen=True, kw_only=True)
class AnalysisSummary:
    """One analysis version in a list."""

    name: str
    version: str
    digest: str
    title: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class AnalysisDetail(AnalysisSummary):
    """One analysis version with its document."""

    document: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """One model version in a list."""

    name: str
    version: str
    digest: str
    kind: str
    stage: Stage
    metrics: dict[str, Any]
    training_id: uuid.UUID | None
    #: why what it said is not in force: it was rolled back, or recalled
    withdrawn: Withdrawal | None
    #: whether it runs beside the active version, nothing of it delivered
    is_shadow: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ModelDetail(ModelSummary):
    """One model version with the metadata of its bundle."""

    metadata: dict[str, Any]


def analyses(
    session: Session, *, limit: int = 50, cursor: str | None = None
) -> Page[AnalysisSummary]:
    """Return one page of analysis versions, by name, oldest version first."""

    def make(rows: Sequence[AnyRow]) -> list[AnalysisSummary]:
        return [AnalysisSummary(**_analysis(row[0])) for row in rows]

    window = Window(limit=limit, cursor=cursor)
    return page(session, select(Analysis), ANALYSES, window, make)


def analysis(session: Session, name: str, version: str | None = None) -> AnalysisDetail | None:
    """Return one analysis version, by default the newest, or None."""
    query = select(Analysis).where(Analysis.name == name)
    if version is not None:
        query = query.where(Analysis.version == version)
    newest = query.order_by(Analysis.created_at.desc(), Analysis.id).limit(1)
    row = session.scalars(newest).one_or_none()
    return None if row is None else AnalysisDetail(**_analysis(row), document=row.document)


def models(
    session: Session,
    *,
    name: str | None = None,
    stage: Stage | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[ModelSummary]:
    """Return one page of model versions, by name, oldest version first."""
    query = select(ModelVersion)
    if name is not None:
        query = query.where(ModelVersion.name == name)
    if stage is not None:
        query = query.where(ModelVersion.stage == stage)

    def make(rows: Sequence[AnyRow]) -> list[ModelSummary]:
        return [ModelSummary(**_model(row[0])) for row in rows]

    return page(session, query, MODELS, Window(limit=limit, cursor=cursor), make)


def model(session: Session, name: str, version: str) -> ModelDetail | None:
    """Return one model version, or None."""
    asked = (ModelVersion.name == name) & (ModelVersion.version == version)
    row = session.scalars(select(ModelVersion).where(asked)).one_or_none()
    return None if row is None else ModelDetail(**_model(row), metadata=row.bundle_metadata)


def _analysis(row: Analysis) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "digest": row.digest,
        "title": row.document.get("title"),
        "created_at": row.created_at,
    }


def _model(row: ModelVersion) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "digest": row.digest,
        "kind": row.kind,
        "stage": row.stage,
        "metrics": row.metrics,
        "training_id": row.training_id,
        "withdrawn": row.withdrawn,
        "is_shadow": row.is_shadow,
        "created_at": row.created_at,
    }
