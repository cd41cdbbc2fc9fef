"""Small models trained on public data for the pictures of ``bench.kinds``: minutes, no records.

A set is written as trainings read it, and trained on by the training's own process, in order of the
recipe in ``bench/recipes``. Every sixth case is held out; pictures show no other.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage

from bench.kinds_series import only_series
from pipeline.models import bundle, predictors
from pipeline.models.bundle import METADATA, Bundle
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
from pipeline.training import manifest, process, recipe
from pipeline.training.manifest import Case, Part
from pipeline.training.process import Order, Stop
from pipeline.training.recipe import Recipe

#: image and label of a case
Rows: TypeAlias = Iterator[tuple[Path, str]]
#: writes cases of the set in a folder (first) to another (second)
Writes: TypeAlias = Callable[[Path, Path], Rows]

_RECIPES: Final = Path(__file__).parent / "recipes"
_SPLIT: Final = ("test", "validation", "train", "train", "train", "train")


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """A trained model, its recipe, the cases that it did not learn from, how it did on them."""

    bundle: Bundle
    recipe: Recipe
    validation: tuple[Case, ...]
    held_out: tuple[Case, ...]
    metrics: Mapping[str, Any]

    def open(self, **options: Any) -> Predictor:
        """Load the model, with ``options`` beside those of its recipe."""
        spec = self.bundle.spec
        told = dataclasses.replace(spec, options={**spec.options, **options})
        return predictors.open(dataclasses.replace(self.bundle, spec=told), device=Device("cpu"))


def learn(name: str, data: Path, work: Path) -> Learnt:
    """Train one of ``SETS`` below ``work``; what an earlier call left there is gone on with."""
    wanted = recipe.parse((_RECIPES / f"{name}.yaml").read_text())
    folder, write = SETS[name]
    place = work.resolve() / f"{name}-{wanted.digest[:12]}"
    listed = place / "manifest.csv"
    if not listed.exists():
        (place / "cases").mkdir(parents=True, exist_ok=True)
        _list(listed, list(write(data.resolve() / folder, place / "cases")))
    if not (place / "bundle").exists():
        order = Order(
            recipe=wanted.model_dump(mode="json"),
            manifest=str(listed),
            folder=str(place / "training"),
            bundle=str(place / "bundle"),
            version="1.0",
            device="cpu",
        )
        process.run(order, _ignore, Stop())
    snapshot = manifest.freeze(listed, wanted)
    made = bundle.load(place / "bundle")
    return Learnt(
        bundle=made,
        recipe=wanted,
        validation=snapshot.part(Part.VALIDATION),
        held_out=snapshot.part(Part.HELD_OUT),
        metrics=json.loads((made.folder / METADATA).read_text())["eval_metrics"],
    )


def _list(path: Path, rows: list[tuple[Path, str]]) -> None:
    """Write a manifest; cases of which nobody is known are each a patient."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label", "patient_id", "split"))
        for (image, label), part in zip(rows, cycle(_SPLIT), strict=False):
            writer.writerow((image, label, image.stem, part))


def brain_slices(folder: Path, cases: Path) -> Rows:
    """Yield JPEG slices as grey PNG, of at most 192 pixels; the class is that of their folder."""
    names = {
        "glioma_tumor": "glioma",
        "meningioma_tumor": "meningioma",
        "no_tumor": "no tumour",
        "pituitary_tumor": "pituitary",
    }
    for place, label in names.items():
        for path in sorted((folder / "train" / place).glob("*.jpg")):
            grey = Pictures.open(path).convert("L")
            grey.thumbnail((192, 192))
            to = cases / f"{place}-{path.stem.replace(' ', '')}.png"
            grey.save(to)
            yield to, label


def nuclei(folder: Path, cases: Path) -> Rows:
    """Yield grey images, bright on dark, and masks: nuclei, and the borders where two touch."""
    for path in sorted((folder / "images").glob("*.png")):
        grey = np.asarray(Pictures.open(path).convert("L"))
        if grey.mean() > 127:
            grey = 255 - grey
        to, mask = cases / path.name, cases / f"{path.stem}-mask.png"
        Pictures.fromarray(grey).save(to)
        objects = np.asarray(Pictures.open(folder / "labels" / path.name)).astype(np.int64)
        Pictures.fromarray(_with_borders(objects)).save(mask)
        yield to, str(mask)


def _with_borders(objects: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return 1 where an object is and 2 where another is within two pixels."""
    highest = ndimage.maximum_filter(objects, 3)
    lowest = ndimage.minimum_filter(np.where(objects == 0, objects.max() + 1, objects), 3)
    is_border = (objects > 0) & (highest != lowest)
    return np.where(is_border, 2, objects > 0).astype(np.uint8)


def hippocampus(folder: Path, cases: Path) -> Rows:
    """Yield volumes and masks where they lie; nothing is written."""
    del cases
    for path in sorted((folder / "images").glob("*.nii.gz")):
        yield path, str(folder / "labels" / path.name)


def finer_brain(folder: Path, cases: Path) -> Rows:
    """Yield every slice of one series. Neighbours are alike: what is held out is hardly unseen."""
    volume = only_series(folder)
    for index, plane in enumerate(volume.values()):
        to = cases / f"slice-{index:02d}.npy"
        np.save(to, plane)
        yield to, ""


#: recipe -> the folder of its data, and what writes it
SETS: Final[Mapping[str, tuple[str, Writes]]] = {
    "brain-slices": ("labelled/cls_brain_tumor_mri", brain_slices),
    "nuclei": ("labelled/seg2d_dsb2018_nuclei", nuclei),
    "hippocampus": ("labelled/seg3d_hippocampus", hippocampus),
    "finer-brain": ("labelled/sr_mr_t1_studyforrest", finer_brain),
}


def _ignore(event: Mapping[str, Any]) -> None:
    """Take an event that nobody waits for."""
