"""The gate of a training, between records and pipeline: what it is asked, and where it is kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from pipeline.errors import PipelineError
from pipeline.training import gating, kept_cases
from pipeline.training.gating import GateOrder, Version
from records import database, gates, lineage, models
from records.base import GateDecision
from records.database import reading
from records.gates import NewGate
from records.tables import ModelVersion
from worker import logging
from worker.queue.settings import Settings
from worker.store import Store
from worker.verbs import FAILED, WELL, complain

_FILES: Final = (gating.CASES, gating.CANDIDATE, gating.ACTIVE, gating.PAGE)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a gate left, once it lies in the store."""

    statement: dict[str, Any] = field(repr=False)
    #: sha256 of the page
    page: str
    #: cases of the snapshot by part
    counts: dict[str, int]


def order_of(session: Session, recipe: dict[str, Any], folder: Path, store: Store) -> GateOrder:
    """Return what the product of a training will be held against."""
    active = models.active(session, str(recipe.get("name")))
    return GateOrder(
        folder=str(folder),
        active=None if active is None else _version(session, active, store),
        line=tuple(_version(session, one, store) for one in lineage.line_of(session, recipe)),
    )


def keep(folder: Path, store: Store) -> Kept:
    """Put all that a gate left into the store.

    Raises:
        DiskFull: no room.

    """
    present = [name for name in _FILES if (folder / name).exists()]
    kept = {name: store.put((folder / name).read_bytes()) for name in present}
    cases = kept_cases.parse((folder / gating.CASES).read_bytes()).cases
    return Kept(
        statement=json.loads((folder / gating.STATEMENT).read_bytes()),
        page=kept[gating.PAGE],
        counts=dict(Counter(one.part.value for one in cases)),
    )


def record(session: Session, kept: Kept, version: ModelVersion, *, by: str) -> None:
    """Write the rows of a gate and of the snapshot, in the transaction of its training."""
    statement = kept.statement
    gates.keep_snapshot(session, statement["snapshot"], kept.counts, statement["cases"])
    held = statement["active"]
    active = None if held is None else models.get(session, version.name, held["version"])
    new = NewGate(
        model_version_id=version.id,
        active_id=None if active is None else active.id,
        decision=GateDecision(statement["verdict"]["decision"]),
        sentence=statement["verdict"]["sentence"],
        statement=statement,
        page=kept.page,
    )
    gates.add(session, new, by=by)


def verify_gate(words: argparse.Namespace) -> int:
    """Compute the gate of a version again from what was kept; print both verdicts as JSON."""
    settings = Settings()
    logging.configure("WARNING", role="gate")
    store = Store(settings.store_path, reserve_bytes=settings.disk_reserve_bytes)
    sessions = database.session_factory(database.connect(settings.database))
    try:
        with reading(sessions) as session:
            version = models.get(session, words.name, words.version)
            statement = gates.latest(session, version).statement
        found = _again(statement, store)
    except (models.ModelVersionMissing, gates.GateMissing) as missing:
        return complain(str(missing), FAILED)
    except PipelineError as broken:
        return complain(broken.sentence, FAILED)
    except FileNotFoundError:
        return complain("a file that the gate was computed from is not in the store", FAILED)
    stated = statement["verdict"]
    json.dump({"is_same": found == stated, "stated": stated, "found": found}, sys.stdout)
    sys.stdout.write("\n")
    return WELL if found == stated else FAILED


def _again(statement: Mapping[str, Any], store: Store) -> dict[str, Any]:
    return gating.again(statement, lambda sha256: store.path(sha256).read_bytes())


def _version(session: Session, row: ModelVersion, store: Store) -> Version:
    snapshot = lineage.snapshot_of(session, row)
    return Version(
        model=row.name,
        version=row.version,
        digest=row.digest,
        bundle=row.path,
        cases=None if snapshot is None else str(store.path(snapshot.sha256)),
    )
