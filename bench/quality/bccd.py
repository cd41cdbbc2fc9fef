"""Blood cells in smears (BCCD, MIT licence): 292 micrographs with boxes of three kinds of cells.

The set names no patients. Two of the micrographs show the same place, so what looks alike is taken
for one smear and never on both sides; the rest is split by the name of the file. Some cells have no
box, which no detector can know, and two boxes have no area.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy.sparse.csgraph import connected_components

from bench.quality.plan import Must, Task

#: correlation of small grey pictures; of the other pairs it is at most 0.66
_ALIKE: Final = 0.9
_SMALL: Final = (32, 24)
_HELD_OUT: Final = 0.2
_VALIDATION: Final = 0.12


def manifest(source: Path, folder: Path) -> Path:
    """Write the manifest below ``folder``; images and annotations stay where they are."""
    images = sorted((source / "JPEGImages").resolve().glob("*.jpg"))
    path = folder / "cases.csv"
    with path.open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("image", "label", "patient_id", "split"))
        for image, smear in zip(images, _smears(images), strict=True):
            label = image.parent.parent / "Annotations" / f"{image.stem}.xml"
            writer.writerow((image, label, smear, _part(smear)))
    return path


def _smears(images: Sequence[Path]) -> Iterator[str]:
    """Yield what stands for the smear of each image: the first of those that look like it."""
    small = np.stack([_description(image) for image in images])
    _, groups = connected_components(small @ small.T > _ALIKE, directed=False)
    for group in groups:
        yield images[int(np.flatnonzero(groups == group)[0])].stem


def _description(image: Path) -> NDArray[np.float64]:
    with Picture.open(image) as picture:
        values = np.asarray(picture.convert("L").resize(_SMALL), np.float64).ravel()
    centred = values - values.mean()
    return np.asarray(centred / np.linalg.norm(centred))


def _part(smear: str) -> str:
    place = int(hashlib.sha256(smear.encode()).hexdigest()[:8], 16) / 2**32
    if place < _HELD_OUT:
        return "test"
    return "validation" if place < _HELD_OUT + _VALIDATION else "train"


TASKS: Sequence[Task] = (
    Task(
        name="bccd",
        recipe="bccd.yaml",
        manifest=manifest,
        needs="det_bccd",
        minutes=15,
        musts=(Must(metric="map_50", least=0.85),),
        shown=(
            "map_50_95",
            "labels.RBC.ap_50",
            "labels.WBC.ap_50",
            "labels.Platelets.ap_50",
        ),
    ),
)
