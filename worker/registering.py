"""The verbs ``check-model`` and ``register-model`` of ``python -m worker``: a bundle is taken in.

Both answer in JSON on stdout: what the bundle is, or every fault. Only registering leaves anything:
the bundle in the store, its row, and an audit record, also where it was refused.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session, sessionmaker

from pipeline.errors import PipelineError
from pipeline.models.bundle import BundleRefused
from pipeline.models.intake import child
from pipeline.models.intake.deriving import Stated
from pipeline.models.intake.taking import Convert, Taken, take_in
from pipeline.models.spec import Kind
from pipeline.reasons import Reason
from records import audit, database, models
from records.base import Stage
from records.database import unit_of_work
from records.tables import ModelVersion
from worker import catalogue, logging
from worker.queue.settings import Settings
from worker.store import Store
from worker.verbs import FAILED, USAGE, WELL

_DOTTED: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")
#: of what is said of a refused bundle in the audit
_TOLD, _LONGEST = 20, 300


def check_model(words: argparse.Namespace) -> int:
    """Say what would become of a bundle, or why it would be refused. Leaves nothing behind."""
    logging.configure("WARNING", role="register")
    with tempfile.TemporaryDirectory(prefix="nightshift-") as scratch:
        folder = Path(scratch)
        return _answer(words, lambda stated: _told(take_in(words.path, folder, stated=stated)))


def register_model(words: argparse.Namespace) -> int:
    """Register a bundle as a candidate, or as the active version where that is asked for."""
    settings = Settings()
    logging.configure("WARNING", role="register")
    sessions = database.session_factory(database.connect(settings.database))
    store = Store(settings.store_path, reserve_bytes=settings.disk_reserve_bytes)
    desk = Desk(sessions, store, by=words.by)
    return _answer(words, lambda stated: desk.register(words.path, stated, promote=words.promote))


class Desk:
    """Where bundles are registered: the records, the store, and who asks."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        store: Store,
        *,
        by: str,
        convert: Convert = child.convert,
    ) -> None:
        """Take what is needed; ``convert`` reads the weights, by default in a confined process."""
        self._sessions = sessions
        self._store = store
        self._by = by
        self._convert = convert

    def register(self, path: Path, stated: Stated, *, promote: str | None = None) -> dict[str, Any]:
        """Register a bundle and return what it is. The same bytes again change nothing.

        Args:
            path: a folder or a ZIP.
            stated: what a person says of it.
            promote: why it becomes the active version at once; None leaves it a candidate.

        Raises:
            BundleRefused: with every fault; an audit record says so.
            DiskFull: no room in the store.

        """
        self._store.require_room()
        try:
            with self._store.scratch() as scratch:
                taken = take_in(path, scratch, stated=stated, convert=self._convert)
                made = taken.bundle
                kept = self._store.adopt_bundle(made.folder, made.digest)
            new = catalogue.described(made, kept)
            with unit_of_work(self._sessions) as session:
                row = models.register(session, new, by=self._by)
                if promote is not None:
                    _promote(session, row, by=self._by, why=promote)
                return _told(taken) | {"stage": row.stage.value}
        except models.VersionTaken as version_taken:
            sentence = f"{version_taken}: raise its version in metadata.json, or state a --name"
            raise self._refused(BundleRefused(sentence, Reason.MODEL_BUNDLE_REFUSED)) from None
        except BundleRefused as refused:
            raise self._refused(refused) from None

    def _refused(self, refused: BundleRefused) -> BundleRefused:
        """Leave an audit record of a refusal."""
        with unit_of_work(self._sessions) as session:
            audit.append(
                session,
                event_id="model.refused",
                action="C",
                by=self._by,
                object_type="model_bundle",
                object_id="not registered",
                outcome=audit.MINOR_FAILURE,
                detail={
                    "reason": refused.reason.value,
                    "faults": [fault[:_LONGEST] for fault in refused.faults[:_TOLD]],
                },
            )
        return refused


def is_older(version: str, than: str) -> bool:
    """Whether a version comes before another; False where they are not numbers and dots."""
    if not (_DOTTED.fullmatch(version) and _DOTTED.fullmatch(than)):
        return False
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _promote(session: Session, row: ModelVersion, *, by: str, why: str) -> None:
    """Make a version the active one, unless that would quietly go back to an older one.

    Raises:
        BundleRefused: a later version is active.

    """
    if row.stage is Stage.ACTIVE:
        return
    active = models.lock_active(session, row.name)
    if active is not None and is_older(row.version, active.version):
        sentence = f"{row.name} {active.version} is active, which is later than {row.version}: "
        sentence += "register without --promote, then `nightshift models promote` goes back"
        raise BundleRefused(sentence, Reason.MODEL_BUNDLE_REFUSED)
    # what comes from elsewhere was never held against anything here
    models.promote(session, row.name, row.version, by=by, why=why, override=True)


def _told(taken: Taken) -> dict[str, Any]:
    spec = taken.bundle.spec
    return {
        "name": spec.name,
        "version": spec.version,
        "kind": str(spec.kind),
        "title": spec.title,
        "modalities": list(spec.input.modalities),
        "labels": [label.name for label in spec.labels],
        "digest": taken.bundle.digest,
        "left_out": dict(taken.left_out),
    }


def _answer(words: argparse.Namespace, work: Callable[[Stated], dict[str, Any]]) -> int:
    """Do the work and say what came of it, as JSON."""
    if not words.path.exists():
        return _complain("there is no such folder or file", USAGE)
    try:
        stated = _stated(words)
    except ValueError as unknown:
        return _complain(str(unknown), USAGE)
    try:
        _say(work(stated))
    except BundleRefused as refused:
        _say({"reason": refused.reason.value, "faults": refused.faults})
        return FAILED
    except PipelineError as failed:
        return _complain(failed.sentence, FAILED)
    except OSError as error:
        return _complain(f"the bundle cannot be unpacked: {error.strerror}", FAILED)
    return WELL


def _stated(words: argparse.Namespace) -> Stated:
    """Return what the words of a command state of a bundle.

    Raises:
        ValueError: there is no such kind.

    """
    if words.kind is not None and words.kind not in set(Kind):
        sentence = f"there is no kind {words.kind!r}; there are {', '.join(Kind)}"
        raise ValueError(sentence)
    return Stated(
        name=words.name,
        title=words.title,
        kind=words.kind and Kind(words.kind),
        modalities=tuple(words.modality),
        labels=tuple(words.label),
        activation=words.activation,
    )


def _say(value: object) -> None:
    json.dump(value, sys.stdout)
    sys.stdout.write("\n")


def _complain(sentence: str, status: int) -> int:
    sys.stderr.write(sentence + "\n")
    return status
