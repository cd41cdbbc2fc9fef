"""What is learnt beside a few labels: chest radiographs of children (PneumoniaMNIST, CC BY 4.0).

Each pair of trainings differs in one block of its recipe. The labelled, the unlabelled and the
validation images are drawn from the set's training part; what is held out is its validation part.
Which twenty have labels decides more than how they are learnt from, so that there are several
draws of them.
The set names no patients, so of images that look alike the first one is kept and no other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.quality.plan import Ablation, Task

_FILE: Final = "pneumoniamnist_train_val.npz"
_NAMES: Final = ("normal", "pneumonia")
#: correlation of two images; some are there twice, all others are at most 0.96 alike
_ALIKE: Final = 0.97
_VALIDATION: Final = 200
#: of twenty labelled images
_DRAWS: Final = 5


@dataclass(frozen=True)
class Few:
    """Writes a manifest of so many labelled images, and so many without a label."""

    labelled: int
    unlabelled: int = 0
    draw: int = 0

    def __call__(self, source: Path, folder: Path) -> Path:
        """Write images and manifest below ``folder``."""
        with np.load(source / _FILE) as kept:
            images = np.concatenate([kept["train_images"], kept["val_images"]])
            classes = np.concatenate([kept["train_labels"], kept["val_labels"]]).ravel()
            count = len(kept["train_images"])
        places = _distinct(images)
        known, held_out = places[places < count], places[places >= count]
        path = folder / "cases.csv"
        with path.open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(("image", "label", "patient_id", "split"))
            for number, part in [
                *self._parts(known),
                *((number, "held-out") for number in held_out),
            ]:
                np.save(folder / f"{number}.npy", images[number])
                label = "" if part == "unlabelled" else _NAMES[classes[number]]
                writer.writerow((f"{number}.npy", label, number, part))
        return path

    def _parts(self, known: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
        """Draw the parts; however many are asked for, the same images are validated on."""
        order = np.random.default_rng(self.draw).permutation(known)
        yield from ((int(number), "validation") for number in order[:_VALIDATION])
        rest = order[_VALIDATION:]
        yield from ((int(number), "training") for number in rest[: self.labelled])
        others = rest[self.labelled :][: self.unlabelled]
        yield from ((int(number), "unlabelled") for number in others)


def _distinct(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the places of images that look like none before them."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    is_new = [
        place == 0 or float((flat[:place] @ flat[place]).max()) <= _ALIKE
        for place in range(len(flat))
    ]
    return np.flatnonzero(is_new)


def _task(name: str, manifest: Few, minutes: int = 1) -> Task:
    """Return the training of the recipe of the same name."""
    return Task(
        name=f"{name}-{manifest.draw}" if manifest.draw else name,
        recipe=f"{name}.yaml",
        manifest=manifest,
        needs="cls_pneumoniamnist",
        minutes=minutes,
    )


def _draws(
    name: str, unlabelled: int, minutes: int, alone: str = "few-labels"
) -> Sequence[tuple[Task, Task]]:
    """Return the trainings with images without a label, beside those that have the labels alone."""
    return [
        (
            _task(name, Few(labelled=20, unlabelled=unlabelled, draw=draw), minutes),
            _task(alone, Few(labelled=20, draw=draw)),
        )
        for draw in range(_DRAWS)
    ]


ABLATIONS: Sequence[Ablation] = (
    Ablation(
        name="semi-supervised",
        draws=_draws("few-labels-teacher", unlabelled=2000, minutes=2),
        metric="labels.pneumonia.auc",
    ),
    Ablation(
        name="self-supervised, contrast",
        draws=_draws("few-labels-contrast", unlabelled=1000, minutes=5),
        metric="labels.pneumonia.auc",
    ),
    Ablation(
        name="self-supervised, hidden patches",
        draws=_draws("few-labels-hidden", 3000, 8, alone="few-labels-transformer"),
        metric="labels.pneumonia.auc",
    ),
    Ablation(
        name="adversarial",
        draws=[(_task("defended", Few(labelled=300)), _task("undefended", Few(labelled=300)))],
        metric="accuracy_under_pgd_0.04",
    ),
    Ablation(
        name="made images",
        draws=[
            (_task("some-labels-made", Few(labelled=60)), _task("some-labels", Few(labelled=60)))
        ],
        metric="labels.pneumonia.auc",
        is_must=False,
    ),
)
