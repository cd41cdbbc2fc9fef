"""Where the scan of a batch keeps what it found, so that the next attempt goes on behind it.

An index lies on the machine that scans. Where the next attempt runs on another one, it starts
from the beginning; what is left here is swept when the next scan begins.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select

from pipeline.dicom.file_index_storage import remove
from records.base import BatchStatus
from records.database import reading
from records.tables import Batch
from worker.queue.settings import Settings
from worker.services import Services

log = structlog.get_logger(__name__)

_SUFFIX: Final = ".index"


@contextmanager
def kept(batch_id: UUID, settings: Settings) -> Iterator[Path]:
    """Yield the place of a batch's index. One that turns out to be damaged is thrown away.

    Raises:
        OSError: the disk is full.

    """
    path = _place(batch_id, settings)
    try:
        yield path
    except sqlite3.DatabaseError as error:
        # The next attempt must not stumble over the same file.
        remove(path)
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def drop(batch_id: UUID, settings: Settings) -> None:
    """Remove the index of a batch that will not be scanned again."""
    remove(_place(batch_id, settings))


def sweep(services: Services) -> None:
    """Remove the indexes of batches that are not being scanned any more, as after a cancel."""
    found = {}
    for path in _folder(services.settings).glob(f"*{_SUFFIX}"):
        try:
            found[UUID(path.name.removesuffix(_SUFFIX))] = path
        except ValueError:
            continue  # not one of ours
    if not found:
        return
    with reading(services.sessions) as session:
        query = select(Batch.id).where(Batch.id.in_(found), Batch.status == BatchStatus.SCANNING)
        for batch_id in set(found).difference(session.scalars(query)):
            remove(found[batch_id])
            log.info("scan.index_swept", batch=str(batch_id))


def _place(batch_id: UUID, settings: Settings) -> Path:
    return _folder(settings) / f"{batch_id}{_SUFFIX}"


def _folder(settings: Settings) -> Path:
    return settings.home / "scans"
