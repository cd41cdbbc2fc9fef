"""What each kind of model adds to the loop, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training import (
    classification,
    detection,
    detectors,
    objects,
    preparing,
    restoration,
    segmentation,
    transfer,
)
from pipeline.training.cache import Cache
from pipeline.training.checkpoint import Weights
from pipeline.training.data import Preparation, Prepared
from pipeline.training.fields import TransferField
from pipeline.training.manifest import Snapshot
from pipeline.training.phases import Phases, kept_weights
from pipeline.training.recipe import Recipe
from pipeline.training.task import Task
from pipeline.training.transfer import Source, Taken


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


def _method(recipe: Recipe) -> Method:
    method = _METHODS[recipe.kind]
    if not recipe.tells_objects_apart:
        return method
    if recipe.loss == "mask-rcnn":
        return Method(preparation=objects.preparation, make=objects.ObjectDetection)
    return replace(method, preparation=objects.preparation)


def preparation(recipe: Recipe) -> Preparation:
    """Return what turns the cases of a recipe into arrays."""
    return _method(recipe).preparation(recipe)


def prepare(
    recipe: Recipe, snapshot: Snapshot, cases: Cache | Path, *, checkpoint: Callable[[], None]
) -> Prepared:
    """Prepare the cases into the folder or the cache ``cases``, and try the network.

    Raises:
        ManifestInvalid: with every case that cannot be read or whose label does not fit.
        TrainingRefused: the network is not to be had with these arguments.
        Interrupted: by ``checkpoint``, called before each case.

    """
    prepared = preparing.prepare(
        snapshot, recipe, preparation(recipe), cases, checkpoint=checkpoint
    )
    try:
        _method(recipe).make(recipe=recipe, prepared=prepared, device=torch.device("cpu")).network()
    except (ValueError, TypeError, RuntimeError, KeyError, IndexError, NotImplementedError) as why:
        # MONAI's classes refuse wrong arguments with any of these
        sentence = f"network {recipe.network.name}: {' '.join(str(why).split())[:300]}"
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from why
    return prepared


def taken(recipe: Recipe, wanted: TransferField, prepared: Prepared, source: Source) -> Taken:
    """Return what the network of a recipe takes over from a source.

    Raises:
        TrainingRefused: nothing fits, or what shall be frozen does not.

    """
    task = _method(recipe).make(recipe=recipe, prepared=prepared, device=torch.device("cpu"))
    return transfer.take(source, task.network(), wanted, channels=recipe.input.channels)


def open(prepared: Prepared, phases: Phases) -> Task:  # noqa: A001 - as predictors.open
    """Run the phases that the recipe asks for, and return what is left for the loop.

    Raises:
        TrainingRefused: a phase diverged, or the network cannot learn in the way it asks for.
        Interrupted: asked to stop in a phase.

    """
    recipe = phases.recipe
    cases = phases.extended(prepared)
    task = _method(recipe).make(recipe=recipe, prepared=cases, device=phases.device)
    return phases.around(task, prepared)


def bundle_weights(recipe: Recipe, weights: Weights) -> Weights:
    """Return what the bundle of a training keeps of its weights."""
    kept = kept_weights(recipe, weights)
    return _method(recipe).bundle_weights(recipe, kept)
