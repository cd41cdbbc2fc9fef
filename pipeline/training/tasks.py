"""What each kind of model adds to the loop, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training import classification, data, detection, detectors, restoration, segmentation
from pipeline.training.checkpoint import Weights
from pipeline.training.data import Preparation
from pipeline.training.loop import Task
from pipeline.training.manifest import Snapshot
from pipeline.training.recipe import Recipe


def _as_they_are(recipe: Recipe, weights: Weights) -> Weights:
    del recipe
    return weights


@dataclass(frozen=True, kw_only=True)
class Method:
    """How one kind is trained."""

    preparation: Callable[[Recipe], Preparation]
    make: Callable[..., Task]
    #: what a bundle keeps of the weights that were trained
    bundle_weights: Callable[[Recipe, Weights], Weights] = _as_they_are


_METHODS: Final[Mapping[str, Method]] = {
    "classification": Method(
        preparation=classification.preparation, make=classification.Classification
    ),
    "segmentation": Method(
        preparation=segmentation.preparation,
        make=segmentation.Segmentation,
        bundle_weights=segmentation.bundle_weights,
    ),
    "detection": Method(
        preparation=detection.preparation,
        make=detection.Detection,
        bundle_weights=detectors.bundle_weights,
    ),
    "restoration": Method(
        preparation=restoration.preparation,
        make=restoration.Restoration,
        bundle_weights=restoration.bundle_weights,
    ),
}


def open(  # noqa: A001 - as predictors.open
    recipe: Recipe,
    snapshot: Snapshot,
    cases: Path,
    device: torch.device,
    *,
    checkpoint: Callable[[], None],
) -> Task:
    """Prepare the cases into the folder ``cases`` and return what the kind adds to the loop.

    Raises:
        ManifestInvalid: with every case that cannot be read or whose label does not fit.
        TrainingRefused: the network is not to be had with these arguments.
        Interrupted: by ``checkpoint``, called before each case.

    """
    method = _METHODS[recipe.kind]
    prepared = data.prepare(
        snapshot, recipe, method.preparation(recipe), cases, checkpoint=checkpoint
    )
    task = method.make(recipe=recipe, prepared=prepared, device=device)
    try:
        task.network()
    except (ValueError, TypeError, RuntimeError, KeyError, IndexError, NotImplementedError) as why:
        # MONAI's classes refuse wrong arguments with any of these
        sentence = f"network {recipe.network.name}: {' '.join(str(why).split())[:300]}"
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from why
    return task


def bundle_weights(recipe: Recipe, weights: Weights) -> Weights:
    """Return what the bundle of a training keeps of its weights."""
    return _METHODS[recipe.kind].bundle_weights(recipe, weights)
