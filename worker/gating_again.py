"""``python -m worker gate-again``: a candidate held against the version that is active now.

As at the end of its training: its scores lie in its bundle, and the active version answers for the
same held-out cases, read again from where the manifest says.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from pipeline.deidentify import keys
from pipeline.errors import PipelineError, TrainingRefused
from pipeline.evaluation import scores
from pipeline.models import bundle, predictors
from pipeline.reasons import Reason
from pipeline.training import gating as deciding
from pipeline.training import kept_cases, manifest, product, recipe
from pipeline.training.gate_order import GateOrder
from pipeline.training.gating import Candidate
from pipeline.training.manifest import Part, Snapshot
from pipeline.training.recipe import Recipe
from records import corrected, database, lineage, models
from records.base import Stage
from records.database import reading, unit_of_work
from records.tables import Training
from worker import gating, logging
from worker.corrected import write_manifest
from worker.queue.settings import Settings
from worker.store import Store
from worker.verbs import FAILED, WELL, complain
from worker.warm import device_of


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A registered candidate, and what it is to be held against."""

    version: str
    bundle: Path
    manifest: Path = field(repr=False)
    snapshot_digest: str
    order: GateOrder


def gate_again(words: argparse.Namespace) -> int:
    """Hold a version against the active one, keep the gate, and print the decision as JSON."""
    settings = Settings()
    logging.configure("WARNING", role="gate")
    store = Store(settings.store_path, reserve_bytes=settings.disk_reserve_bytes)
    sessions = database.session_factory(database.connect(settings.database))
    try:
        with store.scratch() as folder:
            with reading(sessions) as session:
                asked = _asked(session, words.name, words.version, folder, store)
            decided = _decide(asked, settings)
            kept = gating.keep(folder, store)
        with unit_of_work(sessions) as session:
            version = models.get(session, words.name, words.version)
            gating.record(session, kept, version, by=words.by)
    except models.ModelVersionMissing as missing:
        return complain(str(missing), FAILED)
    except PipelineError as refused:
        return complain(refused.sentence, FAILED)
    except keys.KeyRefused:
        return complain("the key for de-identification cannot be used", FAILED)
    except OSError as unreadable:
        return complain(unreadable.strerror or "a file cannot be read", FAILED)
    json.dump(decided, sys.stdout)
    return WELL


def _asked(session: Session, name: str, version: str, folder: Path, store: Store) -> _Asked:
    row = models.get(session, name, version)
    training = lineage.training_of(session, row)
    if training is None or training.snapshot_digest is None:
        raise _refusal("it was not trained here: there are no held-out cases of its own")
    if row.stage is Stage.ACTIVE:
        raise _refusal("it is the active version itself")
    return _Asked(
        version=version,
        bundle=Path(row.path),
        manifest=_manifest(session, training, folder / "cases", store),
        snapshot_digest=training.snapshot_digest,
        order=gating.order_of(session, training.recipe, folder, store),
    )


def _manifest(session: Session, training: Training, folder: Path, store: Store) -> Path:
    """Return the manifest of a training; where corrections had joined it, written once more."""
    base = Path(training.manifest)
    if training.corrections_of is None:
        return base
    model, up_to = str(training.recipe.get("name")), training.corrections_up_to
    cases = corrected.cases(session, training.corrections_of, model=model, up_to=up_to)
    return write_manifest(cases, base, folder, store)


def _decide(asked: _Asked, settings: Settings) -> dict[str, Any]:
    """Decide, and leave all that a gate leaves in its folder."""
    made = bundle.load(asked.bundle)
    stated = recipe.check(json.loads((made.folder / product.RECIPE).read_bytes()))
    snapshot = _snapshot(asked, stated)
    device = device_of(settings)
    candidate = Candidate(
        recipe=stated,
        version=asked.version,
        digest=made.digest,
        held_out=snapshot.part(Part.HELD_OUT),
        cases=kept_cases.keep(
            snapshot, keys.read_key(settings.deidentify_key_path), is_deidentified=False
        ),
        scores=scores.parse((made.folder / product.SCORES).read_bytes()),
        predictor=predictors.open(made, device=device),
    )
    verdict = deciding.run(asked.order, candidate, device=device, checkpoint=_go_on)
    return {"decision": verdict.decision, "sentence": verdict.sentence}


def _snapshot(asked: _Asked, stated: Recipe) -> Snapshot:
    """Return the cases of the training, if they are still where they were and what they were."""
    if stated.snapshot.deidentify:
        raise _refusal("it was trained on copies without patients, which are gone: train it anew")
    snapshot = manifest.freeze(asked.manifest, stated)
    if snapshot.digest != asked.snapshot_digest:
        raise _refusal("the manifest or its files are not what they were: train it anew")
    return snapshot


def _refusal(sentence: str) -> TrainingRefused:
    return TrainingRefused(sentence, Reason.TRAINING_MANIFEST_INVALID)


def _go_on() -> None:
    """Whoever asked waits for the end, or ends this process."""
