"""Tumours on single slices of brain MR, four classes (Bhuvaji et al. 2020, MIT).

The set names no patients. Slices that look alike are taken for one patient and are never on both
sides (``pipeline.training.likeness``); the split is made by the hash of that patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.quality.plan import Must, Task
from pipeline.training.layouts import writing


def manifest(source: Path, folder: Path) -> Path:
    """Write the manifest below ``folder``; the images stay where they are."""
    return writing.make(source / "train", "classes", folder / "cases.csv").manifest


TASKS: Sequence[Task] = (
    Task(
        name="brain-tumours",
        recipe="brain-tumours.yaml",
        manifest=manifest,
        needs="cls_brain_tumor_mri",
        minutes=45,
        musts=(Must(metric="accuracy", least=0.93),),
        shown=("balanced_accuracy", "calibration_error"),
    ),
)
