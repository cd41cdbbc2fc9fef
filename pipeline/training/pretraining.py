"""A first phase on images alone, whose weights are what the training begins with.

Both methods train the very network that the recipe names, but for its last layer; one that answers
for each voxel learns with its decoder, as in Zhou et al., "Models Genesis", MICCAI 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from torch import Tensor, nn

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training.checkpoint import Weights
from pipeline.training.contrast import Contrast
from pipeline.training.features import NoFeatureMap
from pipeline.training.fields import OptimiserField, PretrainingField
from pipeline.training.masked_images import MaskedImages
from pipeline.training.pretext import ENCODER, answering_with
from pipeline.training.recipe import Recipe
from pipeline.training.task import Task
from pipeline.training.views import Views
from pipeline.training.wrapping import Wrapping

#: trains a phase of this name by a recipe of its own, and returns its weights
TrainPhase: TypeAlias = Callable[[str, Task, Recipe], Weights]
NAME: Final = "pretraining"
_METHODS: Final[Mapping[str, type[MaskedImages | Contrast]]] = {
    "masked-autoencoder": MaskedImages,
    "contrastive": Contrast,
}


@dataclass(frozen=True, kw_only=True)
class Pretrained(Wrapping):
    """Around a task: its network begins with these weights."""

    weights: Mapping[str, Tensor]

    def network(self) -> nn.Module:
        """Return the network with what was learnt before; the rest is fresh."""
        network = self.inner.network()
        network.load_state_dict({**network.state_dict(), **self.weights})
        return network


def pretrain(task: Task, wanted: PretrainingField, views: Views, train: TrainPhase) -> Pretrained:
    """Train the first phase and return the task that begins with its weights.

    Raises:
        TrainingRefused: the network cannot learn by this method.

    """
    views = _changed(views, wanted)
    pretext = _METHODS[wanted.method](wanted=wanted, views=views)
    try:
        pretext.network()
    except NoFeatureMap as why:
        sentence = f"pretraining: {why}; take the method contrastive"
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from why
    learnt = train(NAME, pretext, _recipe(views.recipe, wanted))
    return Pretrained(inner=task, weights=encoder_weights(views.recipe, learnt))


def encoder_weights(recipe: Recipe, learnt: Mapping[str, Tensor]) -> Weights:
    """Return what the network of a recipe takes over: all but its last layer.

    The last layer is what has another shape when the network has another number of outputs.
    """
    one, other = (answering_with(recipe, outputs).state_dict() for outputs in (1, 2))
    encoder = {
        name.removeprefix(ENCODER): tensor
        for name, tensor in learnt.items()
        if name.startswith(ENCODER)
    }
    return {name: encoder[name] for name in one if one[name].shape == other[name].shape}


def _changed(views: Views, wanted: PretrainingField) -> Views:
    """Return the views that are changed as the phase asks, or as the training does."""
    if wanted.augmentation is None:
        return views
    recipe = views.recipe.model_copy(update={"augmentation": wanted.augmentation})
    return replace(views, recipe=recipe)


def _recipe(recipe: Recipe, wanted: PretrainingField) -> Recipe:
    """Return by what the loop trains the phase."""
    return recipe.model_copy(
        update={
            "epochs": wanted.epochs,
            "batch": wanted.batch,
            "optimiser": OptimiserField(
                learning_rate=wanted.learning_rate, amp=recipe.optimiser.amp
            ),
            "early_stopping": None,
        }
    )
