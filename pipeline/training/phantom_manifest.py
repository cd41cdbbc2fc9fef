"""Manifests of phantoms: what the shipped demonstrations are trained and measured on.

``python -m pipeline.training.phantom_manifest chest FOLDER --cases 40`` writes the images, their
labels and the manifests. Seeds start far from those of tests and samples, so that no phantom a
demonstration is shown was ever trained on.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import phantoms
from pipeline.phantoms import (
    ImageKind,
    ImageParameters,
    Phantom,
    PhantomParameters,
    PhotoKind,
    PhotoParameters,
    Tissue,
)
from pipeline.volume import Volume

FIRST_SEED = 1_000_000
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Cases:
    """Where phantoms go, how many, and from which seed on."""

    folder: Path
    count: int
    first_seed: int = FIRST_SEED


def chest(cases: Cases) -> None:
    """Write CT chests with ``masks.csv`` for segmentation and ``boxes.csv`` for detection."""
    masks, boxes = [], []
    for number, seed in _numbered(cases):
        phantom = phantoms.chest(_chest_parameters(seed))
        image, mask, box = (f"{number}.nii", f"{number}.mask.nii", f"{number}.boxes.json")
        _write_nifti(cases.folder / image, phantom.volume.values(), phantom.volume)
        _write_nifti(cases.folder / mask, phantom.mask(Tissue.LESION), phantom.volume)
        (cases.folder / box).write_text(json.dumps({"boxes": _boxes(phantom)}, indent=1))
        masks.append((image, mask, f"phantom-{seed}"))
        boxes.append((image, box, f"phantom-{seed}"))
    _write_manifest(cases.folder / "masks.csv", masks)
    _write_manifest(cases.folder / "boxes.csv", boxes)


def still_chest(cases: Cases) -> None:
    """Write CT chests without any noise, and ``images.csv``: what a restoration should restore."""
    rows = []
    for number, seed in _numbered(cases):
        volume = phantoms.chest(replace(_chest_parameters(seed), noise=0.0)).volume
        _write_nifti(cases.folder / f"{number}.nii", volume.values(), volume)
        rows.append((f"{number}.nii", "", f"phantom-{seed}"))
    _write_manifest(cases.folder / "images.csv", rows)


def head(cases: Cases) -> None:
    """Write MR heads, every second one with lesions, and ``classes.csv``."""
    rows = []
    for number, seed in _numbered(cases):
        rng = np.random.default_rng((seed, 11))
        parameters = PhantomParameters(
            shape=(32, 96, 96),
            spacing=(float(rng.uniform(4.5, 5.5)), 2.3, 2.1),
            seed=seed,
            lesions=int(rng.integers(1, 4)) if seed % 2 else 0,
            radius=(5.5, 12.0),
            rotation=_tilt(rng, 8.0),
            noise=float(rng.uniform(8.0, 20.0)),
        )
        volume = phantoms.head(parameters).volume
        _write_nifti(cases.folder / f"{number}.nii", volume.values(), volume)
        rows.append((f"{number}.nii", "lesion" if seed % 2 else "no lesion", f"phantom-{seed}"))
    _write_manifest(cases.folder / "classes.csv", rows)


def image(cases: Cases) -> None:
    """Write single CT, MR, US and CR images, every second one with a lesion.

    ``classes.csv`` is for classification, ``masks.csv`` for segmentation.
    """
    # radiographs hide their lesions best: as half of the cases they are learnt beside the others
    kinds = [*ImageKind, ImageKind.CR, ImageKind.CR]
    classes, masks = [], []
    for number, seed in _numbered(cases):
        parameters = ImageParameters(
            kind=kinds[seed // 2 % len(kinds)], seed=seed, has_lesion=bool(seed % 2)
        )
        phantom = phantoms.image(parameters)
        pixels, mask, patient = f"{number}.npy", f"{number}.mask.npy", f"phantom-{seed}"
        np.save(cases.folder / pixels, phantom.image.pixels)
        np.save(cases.folder / mask, phantom.truth)
        classes.append((pixels, "lesion" if seed % 2 else "no lesion", patient))
        masks.append((pixels, mask, patient))
    _write_manifest(cases.folder / "classes.csv", classes)
    _write_manifest(cases.folder / "masks.csv", masks)


def photo(cases: Cases) -> None:
    """Write colour pictures of four kinds, every second one with a lesion, and ``classes.csv``."""
    kinds, rows = [*PhotoKind], []
    for number, seed in _numbered(cases):
        parameters = PhotoParameters(
            kind=kinds[seed // 2 % len(kinds)], seed=seed, has_lesion=bool(seed % 2)
        )
        np.save(cases.folder / f"{number}.npy", phantoms.photo(parameters).image.pixels[0])
        rows.append((f"{number}.npy", "lesion" if seed % 2 else "no lesion", f"phantom-{seed}"))
    _write_manifest(cases.folder / "classes.csv", rows)


SETS: Mapping[str, Callable[[Cases], None]] = {
    "chest": chest,
    "head": head,
    "image": image,
    "photo": photo,
    "still-chest": still_chest,
}


def _numbered(cases: Cases) -> list[tuple[str, int]]:
    cases.folder.mkdir(parents=True, exist_ok=True)
    return [(f"{n:04d}", cases.first_seed + n) for n in range(cases.count)]


def _chest_parameters(seed: int) -> PhantomParameters:
    rng = np.random.default_rng((seed, 10))
    in_plane = float(rng.uniform(2.2, 2.7))
    return PhantomParameters(
        shape=(48, 128, 128),
        spacing=(float(rng.uniform(2.2, 3.0)), in_plane, in_plane * float(rng.uniform(0.92, 1.0))),
        seed=seed,
        lesions=int(rng.integers(0, 6)),  # a healthy chest now and then
        radius=(4.5, 11.0),
        rotation=_tilt(rng, 6.0),
        noise=float(rng.uniform(8.0, 25.0)),
        vessels=int(rng.integers(0, 13)),
    )


def _tilt(rng: np.random.Generator, degrees: float) -> tuple[float, float, float]:
    """Tilt every second phantom, each axis by up to ``degrees``."""
    if rng.random() < 0.5:
        return 0.0, 0.0, 0.0
    x, y, z = (float(angle) for angle in rng.uniform(-degrees, degrees, 3))
    return x, y, z


def _boxes(phantom: Phantom) -> list[dict[str, object]]:
    return [
        {
            "label": "nodule",
            "centre": [round(value, 4) for value in lesion.centre],
            "size": [round(2.0 * lesion.radius, 4)] * 3,
        }
        for lesion in phantom.lesions
    ]


def _write_nifti(path: Path, values: NDArray[np.float32] | NDArray[np.bool_], on: Volume) -> None:
    """Write whole numbers on the grid of ``on``: (k, j, i) become (i, j, k), LPS becomes RAS."""
    import nibabel

    dtype = np.uint8 if values.dtype == np.bool_ else np.int16
    affine = _LPS_TO_RAS @ on.affine[:, [2, 1, 0, 3]]
    make: Any = nibabel.Nifti1Image  # nibabel states no types for it
    nibabel.save(make(values.transpose(2, 1, 0).astype(dtype), affine), path)


def _write_manifest(path: Path, rows: list[tuple[str, str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "label", "patient_id"))
        writer.writerows(rows)


def main() -> None:
    """Write one set of phantoms."""
    parser = argparse.ArgumentParser(description="Write phantoms and their manifests.")
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    asked = parser.parse_args()
    SETS[asked.set](Cases(asked.folder, asked.cases, asked.first_seed))


if __name__ == "__main__":
    main()
