"""Writing the row of a batch: a new one, the one of an idempotency key, or one that was cut off."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.cli import printing
from api.cli.context import operator
from api.cli.outcome import ExitCode, Problem, sentence_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from api.cli.context import Records
    from records.tables import Batch


@dataclass(frozen=True)
class Order:
    """What one ``nightshift run`` asks for. The same order again means: go on."""

    source: str
    out: str
    analyses: list[str] = field(default_factory=list)


def begin(records: Records, order: Order, *, lane: str) -> uuid.UUID:
    """Take up the batch that an earlier run of the same order left unfinished, or make one."""
    from records import batches
    from records.database import unit_of_work

    with unit_of_work(records.sessions) as session:
        cut_off = _cut_off(session, order)
        if cut_off is None:
            new = batches.NewBatch(
                source=order.source, out=order.out, analyses=order.analyses, lane=lane
            )
            return batches.create(session, new, by=operator()).id
        batches.adopt(session, cut_off.id, lane=lane, by=operator())
        ended = _ended(session, cut_off.id)
    short = str(cut_off.id)[:8]
    printing.note(f"Taking up batch {short}, which was cut off; {ended}.")
    return cut_off.id


def place(
    records: Records, *, source: str, analyses: Sequence[str], queue: str, key: str | None
) -> Batch:
    """Write the batch that the running services will find. Returns the old one for a key used."""
    from records import batches
    from records.database import unit_of_work

    new = batches.NewBatch(source=source, analyses=list(analyses), queue=queue, idempotency_key=key)
    with unit_of_work(records.sessions) as session:
        try:
            return batches.create(session, new, by=operator())
        except batches.IdempotencyConflict as conflict:
            raise Problem(sentence_of(conflict), ExitCode.USAGE) from conflict


def _cut_off(session: Session, order: Order) -> Batch | None:
    """Return the newest unfinished batch of the same order."""
    from sqlalchemy import select

    from records.base import BatchStatus
    from records.tables import Batch

    query = (
        select(Batch)
        .where(
            Batch.status.in_((BatchStatus.SCANNING, BatchStatus.RUNNING)),
            Batch.source == order.source,
            Batch.out == order.out,
            Batch.cancel_requested.is_(False),
        )
        .order_by(Batch.created_at.desc())
    )
    same = (row for row in session.scalars(query) if row.analyses == order.analyses)
    return next(same, None)


def _ended(session: Session, batch_id: uuid.UUID) -> str:
    """Return how much of a batch is done, in words."""
    from records import listing

    far = listing.progress(session, batch_id)
    if far is None or not far.total:
        return "its scan begins anew"
    return f"{far.done:,} of {printing.plural(far.total, 'job')} are done"
