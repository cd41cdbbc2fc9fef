"""What is true of one image, whatever kind of label says so."""

from __future__ import annotations

import numpy as np

from pipeline.training.manifest.labels import classes_of
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Channels, Input, Volume


def nothing(recipe: Recipe, image: Input | Channels) -> Truth:
    """Return a label for an image that has none, for preparations that ask for one."""
    if recipe.kind == "classification":
        return Truth(label=recipe.labels[0].name)
    if recipe.kind == "segmentation":
        first = image.volumes[0] if isinstance(image, Channels) else image
        shape = first.stored.shape if isinstance(first, Volume) else first.pixels.shape[:3]
        return Truth(mask=np.zeros(shape, np.uint8), objects=np.zeros(shape, np.int32))
    return Truth(boxes=())


def labels_in(truth: Truth, recipe: Recipe) -> tuple[str, ...]:
    """Return the labels of the recipe that a truth names, in the order of the recipe."""
    if truth.objects is not None:
        return recipe.judged_labels if truth.objects.any() else ()
    if truth.mask is not None:
        numbers = {int(number) for number in np.unique(truth.mask)}
        return tuple(label.name for label in recipe.labels if label.number in numbers)
    named = {box.label for box in truth.boxes or ()}
    named |= set() if truth.label is None else {truth.label, *classes_of(truth.label)}
    return tuple(label.name for label in recipe.labels if label.name in named)
