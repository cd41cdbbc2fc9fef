"""What a sequence, a second series and a table add, on hippocampi (MSD Task04, CC BY-SA 4.0).

The volumes and their outlines are real. The questions are made so that what is left out in the
second training of each pair is needed for the answer:

- *order*: which way the coronal slices run. The other training sees the same slices in no order.
- *series*: whether what the first series shows is larger than what the second one shows: the
  anterior part and the posterior one, each shrunk by a factor of its own. The other training sees
  the first series alone.
- *table*: whether the hippocampus is small for an age that is drawn at random. The other training
  is not told the age.

Each volume counts as a patient (``bench.quality.hippocampus`` says what that leaves open), and is
held out or not by the hash of its name.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.quality.plan import Ablation, Task

Values: TypeAlias = NDArray[np.float32]
_ANTERIOR, _POSTERIOR = 1, 2
#: (coronal slices, rows, columns) that every volume is cut or padded to: all of them fit
_SHAPE: Final = (56, 48, 48)
_HELD_OUT, _VALIDATION = 0.3, 0.1
#: years; each of them costs this share of the volume in an imagined population
_AGES: Final = (50, 90)
_LOSS_PER_YEAR: Final = 0.012
#: by which the sides of what a series shows are multiplied
_FACTORS: Final = (0.6, 1.0)


@dataclass(frozen=True, kw_only=True)
class Hippocampus:
    """One volume and its outline, coronal slices first, brightness 0 to 1."""

    name: str
    #: of a number between 0 and 1 that the name alone decides
    chance: float
    image: Values
    parts: NDArray[np.uint8]

    def volume(self, *parts: int) -> int:
        """Return how many voxels belong to these parts."""
        return int(np.isin(self.parts, parts).sum())

    def only(self, *parts: int) -> Values:
        """Return the image with nothing but these parts in it."""
        return np.where(np.isin(self.parts, parts), self.image, np.float32(0))

    @property
    def split(self) -> str:
        """The part of the manifest that it belongs to."""
        if self.chance < _HELD_OUT:
            return "held-out"
        return "validation" if self.chance < _HELD_OUT + _VALIDATION else "training"


#: the cells of a row of the manifest; arrays become files
Row: TypeAlias = Mapping[str, Any]


def _in_order(every: Sequence[Hippocampus]) -> list[Row]:
    rows = []
    for one in every:
        is_turned = _second_chance(one.name) < 0.5
        label = "from-behind" if is_turned else "from-front"
        rows.append({"image": one.image[::-1] if is_turned else one.image, "label": label})
    return rows


def _in_no_order(every: Sequence[Hippocampus]) -> list[Row]:
    """Shuffle what is learnt from and chosen by; what is held out is the same."""
    random = np.random.default_rng(0)
    return [
        row if one.split == "held-out" else {**row, "image": random.permutation(row["image"])}
        for one, row in zip(every, _in_order(every), strict=True)
    ]


def _two_series(every: Sequence[Hippocampus]) -> list[Row]:
    rows = []
    for one in every:
        parts = [
            _framed(ndimage.zoom(one.only(part), _shrunk(one.name, part), order=1))
            for part in (_ANTERIOR, _POSTERIOR)
        ]
        first, second = (np.count_nonzero(part) for part in parts)
        label = "larger" if first > second else "smaller"
        rows.append({"image": parts[0], "image2": parts[1], "label": label})
    return rows


def _shrunk(name: str, part: int) -> float:
    return float(np.interp(_chance(f"{name} {part}"), (0, 1), _FACTORS))


def _with_age(every: Sequence[Hippocampus]) -> list[Row]:
    usual = float(np.median([one.volume(_ANTERIOR, _POSTERIOR) for one in every]))
    rows = []
    for one in every:
        age = _AGES[0] + round(_second_chance(one.name) * (_AGES[1] - _AGES[0]))
        expected = usual * (1.0 - _LOSS_PER_YEAR * (age - sum(_AGES) / 2))
        is_small = one.volume(_ANTERIOR, _POSTERIOR) < expected
        label = "small" if is_small else "large"
        rows.append({"image": one.only(_ANTERIOR, _POSTERIOR), "age": age, "label": label})
    return rows


@dataclass(frozen=True)
class Manifest:
    """Writes the manifest of one question."""

    rows: Callable[[Sequence[Hippocampus]], list[Row]]

    def __call__(self, source: Path, folder: Path) -> Path:
        """Write volumes and manifest below ``folder``."""
        every = [_read(file, source / "labels") for file in sorted((source / "images").iterdir())]
        listed = []
        for one, row in zip(every, self.rows(every), strict=True):
            cells = {**row, "patient_id": one.name, "split": one.split}
            for column in ("image", "image2"):
                if column in row:
                    cells[column] = f"{one.name}-{column}.npy"
                    np.save(folder / cells[column], np.asarray(row[column], np.float32))
            listed.append(cells)
        path = folder / "cases.csv"
        with path.open("w", newline="") as table:
            writer = csv.DictWriter(table, list(listed[0]))
            writer.writeheader()
            writer.writerows(listed)
        return path


def _read(file: Path, labels: Path) -> Hippocampus:
    name = file.name.removesuffix(".nii.gz").removesuffix(".nii")
    image, parts = (
        # axes of NIfTI are (left-right, back-front, up-down) in this set
        np.asarray(nibabel.load(path).dataobj).transpose(1, 2, 0)[::-1]
        for path in (file, labels / file.name)
    )
    bright = np.clip(image / np.percentile(image, 99.5), 0.0, 1.0).astype(np.float32)
    return Hippocampus(
        name=name,
        chance=_chance(name),
        image=_framed(bright),
        parts=_framed(parts.astype(np.uint8)),
    )


def _framed(values: NDArray[Any]) -> NDArray[Any]:
    """Cut or pad with zeros, the middle staying the middle."""
    framed = np.zeros(_SHAPE, values.dtype)
    there, here = [], []
    for have, want in zip(values.shape, _SHAPE, strict=True):
        count = min(have, want)
        there.append(slice((have - count) // 2, (have - count) // 2 + count))
        here.append(slice((want - count) // 2, (want - count) // 2 + count))
    framed[tuple(here)] = values[tuple(there)]
    return framed


def _chance(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _second_chance(name: str) -> float:
    return _chance(f"{name} again")


def _task(name: str, rows: Callable[[Sequence[Hippocampus]], list[Row]]) -> Task:
    return Task(
        name=name,
        recipe=f"{name}.yaml" if rows is not _in_no_order else "order.yaml",
        manifest=Manifest(rows),
        needs="seg3d_hippocampus",
        shown=("accuracy",),
    )


ABLATIONS: Sequence[Ablation] = (
    Ablation(
        name="CNN+LSTM against shuffled slices",
        draws=[(_task("order", _in_order), _task("no-order", _in_no_order))],
        metric="accuracy",
    ),
    Ablation(
        name="two series against one",
        draws=[(_task("series", _two_series), _task("one-series", _two_series))],
        metric="accuracy",
    ),
    Ablation(
        name="image and table against the image alone",
        draws=[(_task("table", _with_age), _task("no-table", _with_age))],
        metric="accuracy",
    ),
)
