"""The gate of a training, between records and pipeline: what it is asked, and where it is kept."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from pipeline.training import gate_order, kept_cases
from pipeline.training.gate_order import GateOrder, Version
from records import gates, lineage, models
from records.base import GateDecision
from records.gates import NewGate
from records.tables import ModelVersion
from worker.store import Store

_FILES: Final = (gate_order.CASES, gate_order.CANDIDATE, gate_order.ACTIVE, gate_order.PAGE)


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
    cases = kept_cases.parse((folder / gate_order.CASES).read_bytes()).cases
    return Kept(
        statement=json.loads((folder / gate_order.STATEMENT).read_bytes()),
        page=kept[gate_order.PAGE],
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


def _version(session: Session, row: ModelVersion, store: Store) -> Version:
    snapshot = lineage.snapshot_of(session, row)
    return Version(
        model=row.name,
        version=row.version,
        digest=row.digest,
        bundle=row.path,
        cases=None if snapshot is None else str(store.path(snapshot.sha256)),
    )
