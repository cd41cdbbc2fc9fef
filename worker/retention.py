"""What trainings that have ended left in the store: it goes a stated time after their end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from records import listing
from records.database import reading
from worker.services import Services
from worker.store import TENSORBOARD, TRAININGS


def forget_ended(services: Services, *, after: timedelta) -> int:
    """Remove the folders of trainings that ended longer than ``after`` ago. Returns how many."""
    left = [*_left(services.store.root / TRAININGS), *_left(services.store.root / TENSORBOARD)]
    with reading(services.sessions) as session:
        ended = listing.ended_trainings(session, {one for one, _ in left}, ago=after)
    gone = [folder for one, folder in left if one in ended]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)


def _left(parent: Path) -> Iterator[tuple[UUID, Path]]:
    """Yield every folder of a training, and whose it is."""
    for folder in parent.iterdir() if parent.is_dir() else ():
        try:
            yield UUID(folder.name), folder
        except ValueError:  # somebody else's
            continue
