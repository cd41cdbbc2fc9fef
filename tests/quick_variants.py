"""Prepared cases, and phases that the loop really trains, for the tests of what surrounds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.training import loop, recipe, segmentation
from pipeline.training.classification import Classification
from pipeline.training.controls import Controls
from pipeline.training.data import Prepared
from pipeline.training.pretraining import TrainPhase
from pipeline.training.recipe import Recipe
from pipeline.training.task import Task
from pipeline.training.views import Views
from tests import quick_training

CPU = torch.device("cpu")
PLAIN: dict[str, Any] = quick_training.CLASSIFICATION | {"augmentation": {}}
_FLAT = quick_training.SEGMENTATION["network"]["arguments"] | {"spatial_dims": 2}
FLAT: dict[str, Any] = quick_training.SEGMENTATION | {
    "network": {"name": "UNet", "arguments": _FLAT},
    "input": {"modalities": ["OT"], "spatial_dims": 2, "window": [0, 1], "size": [8, 8]},
    "augmentation": {},
}


def images(folder: Path, count: int = 12) -> Prepared:
    """Keep dark and bright images (1, 16, 16): a half to train on, the rest without labels."""
    random = np.random.default_rng(0)
    places = []
    for number in range(count):
        place = folder / f"case-{number}"
        place.mkdir(parents=True, exist_ok=True)
        is_bright = number % 2
        image = random.uniform(0.0, 0.4, (1, 16, 16)) + 0.5 * is_bright
        np.save(place / "image.npy", image.astype(np.float32))
        np.save(place / "class.npy", np.asarray(is_bright, np.int64))
        places.append(place)
    return Prepared(
        training=tuple(places[: count // 2]), validation=(), unlabelled=tuple(places[count // 2 :])
    )


def squares(folder: Path, count: int = 6) -> Prepared:
    """Keep planes (1, 1, 12, 12) with one bright square each, and its mask."""
    random = np.random.default_rng(0)
    places = []
    for number in range(count):
        place = folder / f"case-{number}"
        place.mkdir(parents=True, exist_ok=True)
        row, column = random.integers(1, 6, 2)
        mask = np.zeros((1, 12, 12), np.uint8)
        mask[0, row : row + 5, column : column + 5] = 1
        noise = random.uniform(0.0, 0.2, (1, *mask.shape))
        np.save(place / "image.npy", (noise + 0.7 * mask).astype(np.float32))
        np.save(place / "mask.npy", mask)
        np.save(place / "marked.npy", np.flatnonzero(mask).astype(np.int64))
        np.save(place / "bounds.npy", np.array([0, 0, int(mask.sum())], np.int64))
        places.append(place)
    half = count // 2
    return Prepared(training=tuple(places[:half]), validation=(), unlabelled=tuple(places[half:]))


def views(wanted: Recipe, prepared: Prepared) -> Views:
    """Return the images that need no label."""
    return Views(recipe=wanted, places=(*prepared.training, *prepared.unlabelled), device=CPU)


def kind_task(wanted: Recipe, prepared: Prepared) -> Task:
    """Return the task of the kind."""
    make = Classification if wanted.kind == "classification" else segmentation.Segmentation
    return make(recipe=wanted, prepared=prepared, device=CPU)


def check(document: dict[str, Any], **more: Any) -> Recipe:
    """Check a recipe with more in it."""
    return recipe.check(document | more)


def controls(checkpoint: Path, is_stopping: Callable[[], bool] = lambda: False) -> Controls:
    """Return controls that hear nothing."""
    return Controls(
        checkpoint=checkpoint, device=CPU, is_stopping=is_stopping, on_epoch=lambda _: None
    )


def phase(folder: Path, is_stopping: Callable[[], bool] = lambda: False) -> TrainPhase:
    """Return what trains a phase by the loop, with its checkpoint in a folder."""

    def train(name: str, task: Task, wanted: Recipe) -> dict[str, torch.Tensor]:
        return loop.train(task, wanted, name, controls(folder / name, is_stopping))[0]

    return train


def stopping_after(steps: int) -> Callable[[], bool]:
    """Return what asks to stop once, after so many steps."""
    left = [steps]

    def is_stopping() -> bool:
        left[0] -= 1
        return left[0] == 0

    return is_stopping
