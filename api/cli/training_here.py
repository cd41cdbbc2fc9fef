"""Beginning a training, and staying with it where no services run.

There the command starts a trainer of its own.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from api.cli import printing
from api.cli.outcome import ExitCode, Problem, sentence_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from api.cli.context import Records
    from records.trainings import NewTraining


def train_here(records: Records, wish: NewTraining) -> uuid.UUID:
    """Train on this machine and return the training when it has ended.

    A training of the same recipe on the same manifest that an earlier command left unfinished is
    taken up where it stood.
    """
    from api.cli.children import require_pipeline
    from api.cli.following import follow
    from api.cli.signals import stoppable
    from worker.queue.broker import BrokerUnavailable
    from worker.queue.embedded import open_training
    from worker.queue.processes import RoleCannotStart

    require_pipeline()
    try:
        with stoppable(), open_training(records.settings) as services:
            which = begin(records, replace(wish, lane=services.settings.lane))
            follow(records, which, tend=services.poll)
            return which
    except KeyboardInterrupt as stopped:
        message = "Stopped before the end; the last checkpoint is kept."
        raise Problem(message, mend="Run the same command again to go on.") from stopped
    except (BrokerUnavailable, RoleCannotStart) as fault:
        raise Problem(sentence_of(fault), mend="`nightshift doctor` looks closer.") from fault


def begin(records: Records, wish: NewTraining) -> uuid.UUID:
    """Take up in the lane of ``wish`` the training that was cut off, or queue a new one."""
    from api.cli.context import operator
    from records import adoption
    from records.database import unit_of_work

    with unit_of_work(records.sessions) as session:
        cut_off = adoption.cut_off_training(session, wish)
        if cut_off is None:
            return _queue(session, wish)
        adoption.adopt_training(session, cut_off.id, lane=wish.lane, by=operator())
    printing.note(f"Taking up training {str(cut_off.id)[:8]}, which had not ended.")
    return cut_off.id


def _queue(session: Session, wish: NewTraining) -> uuid.UUID:
    """Write the row that a trainer of its lane will find."""
    from api.cli.context import operator
    from records import trainings

    try:
        return trainings.create(session, wish, by=operator()).id
    except trainings.IdempotencyConflict as conflict:
        raise Problem(sentence_of(conflict), ExitCode.USAGE) from conflict
