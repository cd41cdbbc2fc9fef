"""What surrounds the training of a kind: phases before it, and tasks around its own.

The order is fixed. Weights from elsewhere or from a pretraining are what is begun with; made images
join the training part; attacks change what is learnt from; student and teacher stand around all of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.training import generation, mean_teacher, pretraining
from pipeline.training.adversarial import Adversarial
from pipeline.training.checkpoint import Weights
from pipeline.training.data import Prepared
from pipeline.training.fields import AugmentationField
from pipeline.training.mean_teacher import MeanTeacher
from pipeline.training.pretraining import TrainPhase
from pipeline.training.recipe import Recipe
from pipeline.training.task import Task
from pipeline.training.transfer import Taken, Transferred
from pipeline.training.views import Views


@dataclass(frozen=True, kw_only=True)
class Phases:
    """What a recipe asks for beside the training of its kind; mostly nothing."""

    recipe: Recipe
    device: torch.device
    #: where made images are kept
    folder: Path
    train: TrainPhase
    #: what the network begins with, other than chance
    taken: Taken | None = None

    def extended(self, prepared: Prepared) -> Prepared:
        """Return the cases to train on, with made ones where they are asked for.

        Raises:
            TrainingRefused, Interrupted: as ``train``.

        """
        if self.recipe.generated is None:
            return prepared
        unchanged = self.recipe.model_copy(update={"augmentation": AugmentationField()})
        seen = Views(recipe=unchanged, places=prepared.training, device=self.device)
        return generation.extended(prepared, self.recipe.generated, seen, self.folder, self.train)

    def around(self, task: Task, prepared: Prepared) -> Task:
        """Return what is trained in the end.

        Args:
            task: of the kind.
            prepared: the cases as they were, without made ones.

        Raises:
            TrainingRefused, Interrupted: as ``train``; or the network cannot be pretrained so.

        """
        recipe = self.recipe
        images = Views(
            recipe=recipe,
            places=(*prepared.training, *prepared.unlabelled),
            device=self.device,
        )
        if recipe.transfer is not None and self.taken is not None:
            task = Transferred(inner=task, wanted=recipe.transfer, taken=self.taken)
        if recipe.pretraining is not None:
            task = pretraining.pretrain(task, recipe.pretraining, images, self.train)
        if recipe.adversarial is not None:
            task = Adversarial(inner=task, wanted=recipe.adversarial)
        if recipe.semi_supervised is not None:
            task = MeanTeacher(inner=task, wanted=recipe.semi_supervised, views=images)
        return task


def kept_weights(recipe: Recipe, weights: Weights) -> Weights:
    """Return the weights of the network of the kind."""
    return weights if recipe.semi_supervised is None else mean_teacher.bundle_weights(weights)
