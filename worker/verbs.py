"""The verbs of ``python -m worker``: what only the pipeline can answer, as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import analyses as shipped
from pipeline.analysis import Analysis, AnalysisInvalid, from_document, parse
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import SourceRefused
from pipeline.dicom.scan import scan
from pipeline.dicom.series.grouping import IndexedStudy
from pipeline.planning import plan_study
from worker import logging
from worker.queue.settings import Settings

#: as the command line's exit statuses
WELL, FAILED, USAGE, NOTHING_TO_ANALYSE = 0, 1, 2, 3
#: an analysis named so is a document of one's own, not a registered name
DOCUMENTS = (".yaml", ".yml")


def plan(words: argparse.Namespace) -> int:
    """Print what a run over a source would do. Reads the analyses' records, writes nothing."""
    settings = Settings()
    logging.configure("WARNING", role="plan")
    known = _known(settings)
    try:
        documents = {name: _document(name) for name in words.analysis if name.endswith(DOCUMENTS)}
    except (AnalysisInvalid, UnicodeDecodeError, OSError) as invalid:
        return complain(str(invalid), USAGE)
    usual = sorted(name for name, one in known.items() if "@" not in name and one.by_default)
    wanted = words.analysis or usual
    known |= documents
    if unknown := [name for name in wanted if name not in known]:
        return complain(f"there is no analysis {', '.join(unknown)}", USAGE)
    try:
        limits = HeaderLimits(pixels=settings.max_pixels)
        with scan(words.source, on_progress=_ignore, limits=limits) as report:
            chosen = [known[name] for name in wanted]
            said = {
                "files": {verdict.value: count for verdict, count in report.counts.items()},
                "studies": [_study(study, chosen) for study in report.studies()],
            }
    except SourceRefused as refused:
        return complain(refused.sentence, NOTHING_TO_ANALYSE)
    _say(said)
    return WELL


def register_analysis(words: argparse.Namespace) -> int:
    """Register a document and print it as name@version."""
    from records import analyses, database
    from worker import catalogue

    settings = Settings()
    logging.configure("WARNING", role="register")
    sessions = database.session_factory(database.connect(settings.database))
    try:
        analysis = catalogue.keep_analysis(sessions, words.path, by=words.by)
    except (AnalysisInvalid, analyses.VersionTaken, UnicodeDecodeError) as refused:
        return complain(str(refused), FAILED)
    except OSError as unreadable:
        return complain(unreadable.strerror or "the file cannot be read", FAILED)
    sys.stdout.write(f"{analysis.name}@{analysis.version}\n")
    return WELL


def register(words: argparse.Namespace) -> int:
    """Register the shipped models and analyses."""
    del words
    from worker.catalogue import register_shipped
    from worker.services import make_services

    settings = Settings()
    logging.configure(settings.log_level, role="register")
    register_shipped(make_services(settings))
    return WELL


def _known(settings: Settings) -> dict[str, Analysis]:
    """Return the analyses by name and by name@version; the shipped ones where none is stored."""
    found = list(_stored(settings)) or list(_shipped())
    by_name = {analysis.name: analysis for analysis in found}
    return by_name | {f"{analysis.name}@{analysis.version}": analysis for analysis in found}


def _stored(settings: Settings) -> Iterable[Analysis]:
    """Yield the registered analyses, oldest first; none where there is no current database."""
    from sqlalchemy import select

    from records import database, tables

    try:
        if not database.schema_state(settings.database).is_current:
            return
        sessions = database.session_factory(database.connect(settings.database))
        with database.reading(sessions) as session:
            query = select(tables.Analysis.document).order_by(tables.Analysis.created_at)
            documents = session.scalars(query).all()
    except database.DatabaseUnavailable:
        return
    for document in documents:
        yield from_document(document)


def _document(path: str) -> Analysis:
    return parse(Path(path).read_text(encoding="utf-8"))


def _shipped() -> Iterable[Analysis]:
    for root in shipped.__path__:
        for path in sorted(Path(root).glob("*.yaml")):
            yield parse(path.read_text(encoding="utf-8"))


def _study(study: IndexedStudy, wanted: Sequence[Analysis]) -> dict[str, Any]:
    return {
        "study_instance_uid": study.study_instance_uid,
        "analyses": [
            {
                "analysis": one.analysis.name,
                "version": one.analysis.version,
                "plan": one.plan,
                "rejected": None
                if one.rejected is None
                else {"reason": one.rejected[0].value, "detail": one.rejected[1]},
            }
            for one in plan_study(study, wanted)
        ],
    }


def _ignore(count: int) -> None:
    """Take no notice of progress: a plan is quick."""


def complain(sentence: str, status: int) -> int:
    """Print what is wrong to stderr and return the exit status."""
    sys.stderr.write(sentence + "\n")
    return status


def _say(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
