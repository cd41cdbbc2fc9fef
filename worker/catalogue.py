"""Registers the models and analyses that the product ships. Doing it again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import structlog
from sqlalchemy.orm import Session, sessionmaker

import analyses as shipped_analyses
import models as shipped_models
from pipeline.analysis import Analysis, parse
from pipeline.models import bundle
from pipeline.models.bundle import Bundle
from records import analyses, models
from records.base import Stage
from records.database import unit_of_work
from worker.services import Services

log = structlog.get_logger(__name__)

REGISTRAR = "nightshift"


def register_shipped(services: Services) -> None:
    """Put every shipped bundle into the store and the records, and every shipped analysis."""
    for folder in _folders(shipped_models.__path__):
        register_bundle(services, folder)
    for path in _documents(shipped_analyses.__path__):
        register_analysis(services, path)


def register_bundle(services: Services, folder: Path) -> None:
    """Register one bundle; it becomes active where nothing of its name ever was.

    A version that somebody retired stays retired, and what comes after it waits for a person, as
    the product of a training does. Other bytes under a version that is registered
    already are logged and left alone: names and versions are never reused.
    """
    loaded = bundle.load(folder)
    new = described(loaded, services.store.put_bundle(folder, loaded.digest))
    try:
        with unit_of_work(services.sessions) as session:
            models.register(session, new, by=REGISTRAR)
            stages = {version.stage for version in models.versions(session, new.name)}
            if stages == {Stage.CANDIDATE}:
                why = "shipped with Nightshift, the first of its name"
                models.promote(session, new.name, new.version, by=REGISTRAR, why=why, override=True)
    except models.VersionTaken:
        log.warning("model.version_taken", model=new.name, version=new.version)


def described(loaded: Bundle, kept: Path) -> models.NewModelVersion:
    """Return what a bundle that is kept in the store states about itself."""
    metadata = json.loads((kept / bundle.METADATA).read_text(encoding="utf-8"))
    return models.NewModelVersion(
        name=loaded.spec.name,
        version=loaded.spec.version,
        digest=loaded.digest,
        kind=str(loaded.spec.kind),
        path=str(kept),
        bundle_metadata=metadata,
        metrics=metadata.get("eval_metrics", {}),
    )


def register_analysis(services: Services, path: Path) -> None:
    """Register one shipped document; another one under its name and version is left alone."""
    try:
        keep_analysis(services.sessions, path, by=REGISTRAR)
    except analyses.VersionTaken as taken:
        log.warning("analysis.version_taken", sentence=str(taken))


def keep_analysis(sessions: sessionmaker[Session], path: Path, *, by: str) -> Analysis:
    """Register one document under the name and version it states and return it parsed.

    Raises:
        AnalysisInvalid: the document is not valid; every fault is listed.
        VersionTaken: its name and version stand for another document.

    """
    analysis = parse(path.read_text(encoding="utf-8"))
    new = analyses.NewAnalysis(
        name=analysis.name,
        version=analysis.version,
        digest=analysis.digest,
        document=analysis.document,
    )
    with unit_of_work(sessions) as session:
        analyses.register(session, new, by=by)
    return analysis


def _folders(roots: list[str]) -> Iterator[Path]:
    for root in roots:
        for metadata in sorted(Path(root).glob(f"*/{bundle.METADATA}")):
            yield metadata.parent.parent


def _documents(roots: list[str]) -> Iterator[Path]:
    for root in roots:
        yield from sorted(Path(root).glob("*.yaml"))
