"""Where a model version comes from and what came of it, as readers see it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from records import gates, lineage, models
from records.base import GateDecision, Stage, Withdrawal
from records.listing.gate_rows import SnapshotRow, snapshot


@dataclass(frozen=True, kw_only=True)
class LineageDetail:
    """The way of one version: cases, training, gates, and the jobs it took part in."""

    model: str
    version: str
    digest: str
    stage: Stage
    withdrawn: Withdrawal | None
    registered: datetime
    #: None: it came from elsewhere
    training: uuid.UUID | None
    recipe_digest: str | None
    snapshot: SnapshotRow | None
    #: the registered version that its first weights came from, as name@version
    trained_from: str | None
    gate: GateDecision | None
    #: jobs by how what they found stands; of jobs that did not succeed nothing stands
    jobs: dict[str, int]


def lineage_of(session: Session, name: str, version: str) -> LineageDetail:
    """Return the lineage of one version.

    Raises:
        ModelVersionMissing: it is not registered.

    """
    row = models.get(session, name, version)
    training = lineage.training_of(session, row)
    kept = lineage.snapshot_of(session, row)
    source = None if training is None else lineage.source_of(session, training.recipe)
    decided = gates.of(session, row)
    return LineageDetail(
        model=row.name,
        version=row.version,
        digest=row.digest,
        stage=row.stage,
        withdrawn=row.withdrawn,
        registered=row.created_at,
        training=row.training_id,
        recipe_digest=None if training is None else training.recipe_digest,
        snapshot=None if kept is None else snapshot(session, kept.digest),
        trained_from=None if source is None else f"{source.name}@{source.version}",
        gate=decided[0].decision if decided else None,
        jobs=lineage.counts(session, row),
    )
