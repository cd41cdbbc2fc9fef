"""The cases of a training: its manifest, and the corrections that join it."""

from __future__ import annotations

from pathlib import Path

from records import corrected
from records.database import reading
from worker.corrected import write_manifest
from worker.services import Services
from worker.training.order import Order


def manifest_of(order: Order, services: Services) -> str:
    """Return the path of the manifest to train on.

    Corrections join it once, at the first attempt: a later one trains on the same files.

    Raises:
        TrainingRefused: they can only join a CSV manifest.
        PipelineError, OSError: an image of theirs is no longer where it was.

    """
    if order.corrections is None:
        return order.manifest
    folder = order.folder / "corrected"
    if not (folder / "manifest.csv").exists():
        wanted = order.corrections
        with reading(services.sessions) as session:
            cases = list(
                corrected.cases(
                    session,
                    wanted.analysis,
                    model=str(order.recipe.get("name")),
                    up_to=wanted.number,
                )
            )
        write_manifest(cases, Path(order.manifest), folder, services.store)
    return str(folder / "manifest.csv")
