"""How classes are learnt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.models import networks
from pipeline.training.fields.base import Strict

if TYPE_CHECKING:
    from pipeline.training.recipe import Recipe

#: the loss that belongs to each activation
_LOSS_OF = {"softmax": "cross-entropy", "sigmoid": "binary-cross-entropy"}


class ClassesField(Strict):
    """How the classes of a classification are learnt."""

    #: share of the truth that is spread evenly over all classes (Szegedy et al., "Rethinking the
    #: Inception Architecture for Computer Vision", CVPR 2016)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    #: rare classes count as much as frequent ones: each case weighs more in the loss, or is drawn
    #: more often
    balance: Literal["none", "weights", "sampling"] = "none"


def faults(recipe: Recipe) -> Iterator[str]:
    """Say what of a recipe does not go together with classes, or only with them."""
    changes, stated = recipe.augmentation, recipe.input
    if recipe.kind != "classification":
        if recipe.classes != ClassesField() or changes.mixup:
            yield "classes and augmentation.mixup belong to a classification"
        if stated.table or stated.images or (stated.spatial_dims == 3 and stated.channels > 1):
            yield "several images of a case and input.table are read by a classification"
        return
    wanted = _LOSS_OF.get(str(recipe.options.get("activation", "softmax")))
    if wanted is not None and recipe.loss != wanted:
        yield f"options.activation asks for the loss {wanted}"
    if recipe.takes_several_labels and recipe.classes.balance == "sampling":
        yield "cases of several classes are balanced by weights, not by sampling"
    if recipe.takes_several_labels and (recipe.evaluation.robustness or recipe.generated):
        yield "evaluation.robustness and generated ask for one class of each case"
    is_optional = networks.takes_missing(recipe.network.name)
    if changes.missing and not (is_optional or stated.table):
        yield "augmentation.missing needs input.table, or a network that misses no series"
    if changes.mixup and (is_optional or stated.table):
        yield "augmentation.mixup does not mix what may be missing"
