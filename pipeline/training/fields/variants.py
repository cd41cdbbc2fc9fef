"""What may surround a training: phases before it, cases without labels, attacks, made images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from pipeline.models import networks
from pipeline.training.fields.base import LATER, Strict
from pipeline.training.fields.changes import AugmentationField

if TYPE_CHECKING:
    from pipeline.training.recipe import Recipe

#: sides of a generator's coarsest map are at least this long; it doubles them at most so often
COARSEST: Final = 4
_MOST_HALVINGS: Final = 4
Epsilon = Annotated[float, Field(ge=0, le=1)]


class PretrainingField(Strict):
    """A first phase on images alone, those of the training part and those without a label.

    Its weights, but for the last layer, are what the training begins with.
    """

    #: masked-autoencoder: see what is hidden; contrastive: tell images apart, however changed
    method: Literal["masked-autoencoder", "contrastive"]
    epochs: int = Field(ge=1, le=100_000)
    batch: int = Field(default=32, ge=2, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    #: masked-autoencoder: share of the blocks that are hidden, and their side in voxels, which for
    #: a transformer is best that of its patches
    masked: float = Field(default=0.6, gt=0, lt=1)
    block: int = Field(default=4, ge=1, le=128)
    #: contrastive: how sharply similar images are told apart, and how many values stand for one
    temperature: float = Field(default=0.2, gt=0, le=10)
    projection: int = Field(default=64, ge=2, le=4096)
    #: how images are changed in this phase; None = as in the training. Contrast may want more
    #: change than a few labels can bear
    augmentation: Annotated[AugmentationField | None, LATER] = None

    @model_validator(mode="after")
    def _changes_images_alone(self) -> PretrainingField:
        changes = self.augmentation
        if changes is not None and (changes.mixup or changes.missing):
            message = "mixup and missing change more than images"
            raise ValueError(message)
        return self


class SemiSupervisedField(Strict):
    """A mean teacher: images without a label, about which student and teacher shall agree."""

    method: Literal["mean-teacher"] = "mean-teacher"
    #: images of which the agreement is asked, per step
    batch: int = Field(default=16, ge=1, le=4096)
    #: of the disagreement (mean squared difference of the scores), from ``ramp_up`` on
    weight: float = Field(default=10.0, gt=0, le=10_000)
    #: epochs over which the weight rises
    ramp_up: int = Field(default=5, ge=0)
    #: share of its weights that the teacher keeps in each step
    decay: float = Field(default=0.99, gt=0, lt=1)


class AttackField(Strict):
    """How inputs are changed so that a network errs."""

    #: fgsm: one step; pgd: many small ones from a random start
    method: Literal["fgsm", "pgd"] = "pgd"
    steps: int = Field(default=7, ge=1, le=1000)


class AdversarialField(AttackField):
    """Training on inputs that were changed so that the network errs."""

    #: the most that a value changes, in units of the 0..1 input
    epsilon: float = Field(gt=0, le=1)
    #: of the loss that is that of changed inputs; the rest is that of the inputs as they are
    share: float = Field(default=0.5, gt=0, le=1)


class RobustnessField(AttackField):
    """The held-out cases once more, changed so that the model errs."""

    #: the most that a value changes, in units of the 0..1 input; 0 = as they are
    epsilons: tuple[Epsilon, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _rises(self) -> RobustnessField:
        if list(self.epsilons) != sorted(set(self.epsilons)):
            message = "epsilons rise, each of them once"
            raise ValueError(message)
        return self


class GeneratedField(Strict):
    """Images made by a generator that learns from the training part; for training alone."""

    #: made images of each class
    per_class: int = Field(ge=1, le=100_000)
    #: of the generator and its judge
    epochs: int = Field(ge=1, le=100_000)
    batch: int = Field(default=32, ge=2, le=4096)
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    #: values that an image is made from
    latent: int = Field(default=64, ge=1, le=4096)
    #: width of the finest layer; each coarser one is twice as wide
    features: int = Field(default=32, ge=1, le=1024)


def faults(recipe: Recipe) -> Iterator[str]:
    """Say what of a recipe does not go together with what surrounds a training."""
    stated = {
        "pretraining": recipe.pretraining,
        "semi_supervised": recipe.semi_supervised,
        "adversarial": recipe.adversarial,
        "evaluation.robustness": recipe.evaluation.robustness,
        "generated": recipe.generated,
    }
    asked = [name for name, field in stated.items() if field is not None]
    if not asked:
        return
    yield from _faults_of_kind(recipe, ", ".join(asked))
    if recipe.input.table or networks.takes_missing(recipe.network.name):
        yield f"{', '.join(asked)}: the network must see images, all of them, and nothing beside"
    if recipe.evaluation.robustness is not None and recipe.takes_several_labels:
        yield "evaluation.robustness: cases have one class each where answers are attacked"
    if recipe.generated is not None:
        if recipe.kind != "classification" or recipe.takes_several_labels:
            yield "generated: images are made of cases that each have one class"
        if not halvings(recipe.input.size):
            yield f"generated: input.size must be even along each axis, {2 * COARSEST} or more"
    if recipe.pretraining is not None and recipe.transfer is not None:
        yield "pretraining: transfer names the weights to begin with already"
    if recipe.semi_supervised is not None and recipe.optimiser.ema is not None:
        yield "optimiser.ema: the teacher of semi_supervised is that average already"


def _faults_of_kind(recipe: Recipe, asked: str) -> Iterator[str]:
    if recipe.kind not in ("classification", "segmentation"):
        yield f"{asked}: only a classification or a segmentation can be trained so"
    if recipe.loss == "mask-rcnn":
        yield f"{asked}: {recipe.network.name} learns from single objects, not from maps"
    elif recipe.evaluation.robustness is not None and recipe.tells_objects_apart:
        yield "evaluation.robustness: objects that are told apart are not attacked"


def halvings(size: Sequence[int]) -> int:
    """Return how often every side can be halved; 0 = a generator cannot make such images."""
    for count in range(_MOST_HALVINGS, 0, -1):
        if all(side % 2**count == 0 and side // 2**count >= COARSEST for side in size):
            return count
    return 0
