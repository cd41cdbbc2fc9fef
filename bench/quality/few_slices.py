"""What images without a label add to four that have one: slices of hippocampi (MSD, CC BY-SA 4.0).

The question is which way a sagittal slice of Task04 runs. One training first learns, without a
label, to tell slices apart however they are moved and lit; then both learn from the same two slices
of each kind. Each volume counts as a patient and gives one slice; parts are those of
``bench.quality.forms``. Of the training part there are several draws of the four.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.quality.forms import Hippocampus, Values, read, second_chance
from bench.quality.plan import Ablation, Task

_OF_EACH: Final = 2
_DRAWS: Final = 5


@dataclass(frozen=True)
class Few:
    """Writes a manifest of so few labelled slices, and the others without one if wanted."""

    draw: int
    has_unlabelled: bool

    def __call__(self, source: Path, folder: Path) -> Path:
        """Write slices and manifest below ``folder``."""
        every = [read(file, source / "labels") for file in sorted((source / "images").iterdir())]
        labelled = self._labelled([one for one in every if one.split == "training"])
        path = folder / "cases.csv"
        with path.open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(("image", "label", "patient_id", "split"))
            for one in every:
                is_known = one.split != "training" or one.name in labelled
                if not (is_known or self.has_unlabelled):
                    continue
                np.save(folder / f"{one.name}.npy", _sagittal(one))
                part, label = (one.split, _label(one)) if is_known else ("unlabelled", "")
                writer.writerow((f"{one.name}.npy", label, one.name, part))
        return path

    def _labelled(self, known: Sequence[Hippocampus]) -> set[str]:
        """Draw some of each kind; whether the others are wanted changes nothing."""
        order = np.random.default_rng(self.draw).permutation(len(known))
        drawn: dict[str, list[str]] = {}
        for number in order:
            drawn.setdefault(_label(known[number]), []).append(known[number].name)
        return {name for names in drawn.values() for name in names[:_OF_EACH]}


def _sagittal(one: Hippocampus) -> Values:
    """Return the slice through the middle, turned round where its label says so."""
    middle = one.image[:, one.image.shape[1] // 2]
    return np.ascontiguousarray(middle[::-1] if _is_turned(one) else middle)


def _label(one: Hippocampus) -> str:
    return "from-behind" if _is_turned(one) else "from-front"


def _is_turned(one: Hippocampus) -> bool:
    return second_chance(one.name) < 0.5


def _task(name: str, draw: int, minutes: int) -> Task:
    """Return the training of the recipe of the same name; those without a label are for one."""
    return Task(
        name=f"{name}-{draw}",
        recipe=f"{name}.yaml",
        manifest=Few(draw, has_unlabelled=name != "few-slices"),
        needs="seg3d_hippocampus",
        minutes=minutes,
    )


ABLATIONS: Sequence[Ablation] = (
    Ablation(
        name="contrastive, four slices",
        draws=[
            (_task("few-slices-contrast", draw, 3), _task("few-slices", draw, 1))
            for draw in range(_DRAWS)
        ],
        metric="labels.from-behind.auc",
    ),
)
