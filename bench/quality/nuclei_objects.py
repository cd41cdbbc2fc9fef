"""The nuclei of ``bench.quality.nuclei`` told apart, each an object of its own."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.quality import nuclei
from bench.quality.plan import Task


def manifest(source: Path, folder: Path) -> Path:
    """Write grey images, their maps of nuclei and the manifest below ``folder``, split alike."""
    path = nuclei.manifest(source, folder)
    with path.open(newline="") as table:
        rows = list(csv.DictReader(table))
    maps = {file.stem[:16]: file for file in (source / "labels").glob("*.png")}
    for row in rows:
        (folder / row["label"]).unlink()
        row["label"] = f"{Path(row['image']).stem}.nuclei.png"
        shutil.copyfile(maps[Path(row["image"]).stem], folder / row["label"])
    with path.open("w", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


TASKS: Sequence[Task] = (
    Task(
        name="nuclei-objects",
        recipe="nuclei-objects.yaml",
        manifest=manifest,
        needs="seg2d_dsb2018_nuclei",
        shown=(
            "labels.nucleus.object_ap_50",
            "labels.nucleus.objects_found_50",
            "labels.nucleus.objects_found_50_95",
            "labels.nucleus.dice",
        ),
    ),
)
