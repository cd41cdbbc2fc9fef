"""Makes the shipped demonstrations again: ``python -m models.make [NAME]...``.

Each recipe goes through the training service itself, on phantoms, and its bundle replaces the one
in this folder. Same machine kind, same libraries: same bytes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import yaml

from pipeline.training import phantom_manifest
from pipeline.training.phantom_manifest import Cases
from records import models, trainings
from records.database import reading, unit_of_work, upgrade
from records.tables import ModelVersion
from records.trainings import NewTraining
from worker import logging, training
from worker.queue.settings import Settings
from worker.services import Services, make_services

HERE = Path(__file__).parent

#: model -> the set of phantoms, its manifest and how many cases
DEMONSTRATIONS: Mapping[str, tuple[str, str, int]] = {
    "demo-ct-nodule-segmentation": ("chest", "masks.csv", 64),
    "demo-ct-nodule-detection": ("chest", "boxes.csv", 64),
    "demo-ct-denoising": ("still-chest", "images.csv", 32),
    "demo-mr-lesion-classification": ("head", "classes.csv", 240),
    "demo-image-lesion-classification": ("image", "classes.csv", 1200),
    "demo-image-lesion-segmentation": ("image", "masks.csv", 600),
    "demo-photo-lesion-classification": ("photo", "classes.csv", 800),
}


class NotMade(Exception):
    """A training did not end in a bundle."""


def make(name: str) -> None:
    """Train one demonstration and put its bundle beside its recipe.

    Raises:
        NotMade: the training was refused or failed; the sentence says why.

    """
    kind, manifest, count = DEMONSTRATIONS[name]
    with tempfile.TemporaryDirectory(prefix="nightshift-make-") as scratch:
        phantom_manifest.SETS[kind](Cases(Path(scratch) / "cases", count))
        settings = Settings(
            home=Path(scratch) / "home",
            # nobody else can claim the training, so its lease need not be renewed
            lease=timedelta(days=1),
            device="cpu",
            # sums depend on how many threads they are shared by: so on no machine's number of cores
            threads=1,
        )
        upgrade(settings.database)
        made = train(make_services(settings), name, Path(scratch) / "cases" / manifest)
        for part in ("configs", "docs", "models"):
            shutil.rmtree(HERE / name / part, ignore_errors=True)
        shutil.copytree(made.path, HERE / name, dirs_exist_ok=True)


def train(services: Services, name: str, manifest: Path) -> ModelVersion:
    """Run one training to its end in this process and return its product."""
    recipe = yaml.safe_load((HERE / name / "recipe.yaml").read_text(encoding="utf-8"))
    with unit_of_work(services.sessions) as session:
        wish = NewTraining(recipe=recipe, manifest=str(manifest))
        training_id = trainings.create(session, wish, by="models.make").id
    training.run(training_id, services)
    with reading(services.sessions) as session:
        ended = trainings.get(session, training_id)
        made = models.versions(session, name)
    if not made:
        errors = services.store.root / "trainings" / str(training_id) / "errors.log"
        last = errors.read_text().splitlines()[-1:] if errors.exists() else []
        raise NotMade(f"{name}: {ended.status}: {ended.detail or last}")
    return made[-1]


def main(names: list[str]) -> None:
    """Make the demonstrations named, or all."""
    logging.configure("INFO", role="make")
    for name in names or list(DEMONSTRATIONS):
        make(name)


if __name__ == "__main__":
    main(sys.argv[1:])
