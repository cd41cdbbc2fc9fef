"""Anterior and posterior hippocampus (Medical Segmentation Decathlon, task 4, CC BY-SA 4.0).

Cropped T1-weighted volumes of one hippocampus each. The set does not say which two are the left and
the right one of the same head (it has about twice as many volumes as heads: Antonelli et al., "The
Medical Segmentation Decathlon", 2022), so each counts as a patient and the two may be on both sides
of the split, which the recipe makes. What lies in ``odd`` has no mask or no image and is left out.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bench.quality.plan import Must, Task


def manifest(source: Path, folder: Path) -> Path:
    """Write the manifest; images stay where they are."""
    path = folder / "cases.csv"
    with path.open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("image", "label", "patient_id"))
        for image in sorted((source / "images").glob("*.nii.gz")):
            mask = source / "labels" / image.name
            if mask.exists():
                patient = image.name.removesuffix(".nii.gz")
                writer.writerow((image.resolve(), mask.resolve(), patient))
    return path


TASKS: Sequence[Task] = (
    Task(
        name="hippocampus",
        recipe="hippocampus.yaml",
        manifest=manifest,
        needs="seg3d_hippocampus",
        minutes=22,
        musts=(
            Must(metric="labels.anterior.dice", least=0.88),
            Must(metric="labels.posterior.dice", least=0.87),
        ),
        shown=("labels.anterior.hd95_mm", "labels.posterior.hd95_mm"),
    ),
)
