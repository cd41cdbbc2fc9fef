"""What images without labels add to two that have one: hippocampi (MSD Task04, CC BY-SA 4.0).

The trainings differ in one block of the recipe: the one first learns to see what is hidden in
volumes that nobody outlined, then both learn from the same two outlines. Each volume counts as a
patient (``bench.quality.hippocampus`` says what that leaves open); the hash of its name decides
what it is there for.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.quality.plan import Ablation, Task

_HELD_OUT: Final = 60
_VALIDATION: Final = 30
_LABELLED: Final = 2


@dataclass(frozen=True)
class Few:
    """Writes a manifest of two labelled volumes, and those without a label if they are wanted."""

    has_unlabelled: bool

    def __call__(self, source: Path, folder: Path) -> Path:
        """Write the manifest; images stay where they are."""
        images = [
            image.resolve()
            for image in sorted((source / "images").glob("*.nii.gz"))
            if (source / "labels" / image.name).exists()
        ]
        images.sort(key=lambda image: hashlib.sha256(image.name.encode()).hexdigest())
        parts = ["held-out"] * _HELD_OUT + ["validation"] * _VALIDATION + ["training"] * _LABELLED
        path = folder / "cases.csv"
        with path.open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(("image", "label", "patient_id", "split"))
            for image, part in zip(images, parts, strict=False):
                mask = (source / "labels" / image.name).resolve()
                writer.writerow((image, mask, _patient(image), part))
            if self.has_unlabelled:
                rest = images[len(parts) :]
                writer.writerows((image, "", _patient(image), "unlabelled") for image in rest)
        return path


def _patient(image: Path) -> str:
    return image.name.removesuffix(".nii.gz")


def _task(name: str, manifest: Few, minutes: int) -> Task:
    """Return the training of the recipe of the same name."""
    needs = "seg3d_hippocampus"
    return Task(name=name, recipe=f"{name}.yaml", manifest=manifest, needs=needs, minutes=minutes)


ABLATIONS: Sequence[Ablation] = (
    Ablation(
        name="self-supervised, volumes",
        draws=[
            (
                _task("few-volumes-masked", Few(has_unlabelled=True), 9),
                _task("few-volumes", Few(has_unlabelled=False), 4),
            )
        ],
        metric="mean_dice",
    ),
)
