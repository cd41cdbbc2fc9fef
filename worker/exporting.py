"""``python -m worker export-corrections``: corrected cases as a manifest with its files."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import PipelineError
from records import corrected
from records.corrected import CorrectedCase
from records.database import connect, reading, session_factory
from worker import logging
from worker.corrected import write_manifest
from worker.queue.settings import Settings
from worker.store import Store
from worker.verbs import FAILED, NOTHING_TO_ANALYSE, WELL, complain


def export_corrections(words: argparse.Namespace) -> int:
    """Write the cases below a folder; say how many, and where their manifest is."""
    settings = Settings()
    logging.configure("WARNING", role="export")
    store = Store(settings.store_path, reserve_bytes=settings.disk_reserve_bytes)
    sessions = session_factory(connect(settings.database))
    with reading(sessions) as session:
        cases = list(corrected.cases(session, words.analysis, model=words.model))
    if not cases:
        return complain("no correction labels a case of that model", NOTHING_TO_ANALYSE)
    try:
        _write(cases, words.out, store)
    except PipelineError as fault:
        return complain(fault.sentence, FAILED)
    except OSError as fault:
        return complain(fault.strerror or "a file cannot be read or written", FAILED)
    sys.stdout.write(f"{len(cases)} cases: {words.out / 'manifest.csv'}\n")
    return WELL


def _write(cases: Iterable[CorrectedCase], out: Path, store: Store) -> None:
    """Write the folder beside its place and move it there once it is whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        write_manifest(cases, None, Path(beside) / "cases", store)
        (Path(beside) / "cases").rename(out)
