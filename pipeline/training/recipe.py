"""The recipe: one YAML document that names everything a training decides.

Same recipe, same snapshot, same device kind: same weights. Nothing in it is code: networks,
losses, optimisers and augmentations are chosen by name from tables of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.config import reading
from pipeline.config.refusal import ConfigRefused
from pipeline.errors import TrainingRefused
from pipeline.evaluation.rule import Rule
from pipeline.evaluation.scores import Kind as JudgedAs
from pipeline.models import metadata
from pipeline.models.spec import Kind, ModelSpec
from pipeline.reasons import Reason
from pipeline.training.fields import (
    LATER,
    AdversarialField,
    AugmentationField,
    BudgetField,
    ClassesField,
    DegradationField,
    EarlyStoppingField,
    EvaluationField,
    GeneratedField,
    InputField,
    LabelField,
    NetworkField,
    OptimiserField,
    PretrainingField,
    Probability,
    SemiSupervisedField,
    SnapshotField,
    SplitField,
    Strict,
    TransferField,
)
from pipeline.training.fields.classes import faults as class_faults
from pipeline.training.fields.detecting import LossWeights
from pipeline.training.fields.detecting import faults as detector_faults
from pipeline.training.fields.variants import faults as variant_faults
from pipeline.training.fields.voxels import CriticField, FeaturesField
from pipeline.training.fields.voxels import faults as voxel_faults

#: what each kind may be trained with
_LOSSES: Final[Mapping[str, tuple[str, ...]]] = {
    "classification": ("cross-entropy", "binary-cross-entropy"),
    "segmentation": (
        "dice-cross-entropy",
        "dice-focal",
        "generalised-dice",
        "tversky",
        "mask-rcnn",
    ),
    "detection": ("retinanet", "focal", "faster-rcnn"),
    "restoration": ("l1", "l2", "charbonnier"),
}


class Recipe(Strict):
    """One recipe, checked."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    #: major number of the versions that come of it
    version: int = Field(default=1, ge=0)
    title: str = Field(max_length=120)
    kind: Literal["classification", "segmentation", "detection", "restoration"]
    network: NetworkField
    input: InputField
    #: none for a restoration
    labels: tuple[LabelField, ...] = ()
    #: one of those that its kind may be trained with
    loss: str
    #: of a classification, and only there
    classes: Annotated[ClassesField, LATER] = ClassesField()
    #: of a detector: what its losses count in their sum, by their names
    loss_weights: Annotated[LossWeights, LATER] = Field(default_factory=dict)
    #: of a segmentation: how many coarser answers of the network learn too
    deep_supervision: Annotated[int, LATER, Field(ge=0, le=5)] = 0
    #: of a restoration, and only there
    degradation: Annotated[DegradationField | None, LATER] = None
    #: losses of a restoration beside the one over pixels
    features: Annotated[FeaturesField | None, LATER] = None
    critic: Annotated[CriticField | None, LATER] = None
    optimiser: OptimiserField = OptimiserField()
    epochs: int = Field(ge=1, le=100_000)
    batch: int = Field(default=2, ge=1, le=1024)
    #: patches drawn from each case per epoch (all kinds but classification)
    patches: int = Field(default=1, ge=1, le=1024)
    #: size: so many are drawn from a case of middling size, from others by how large they are
    patches_by: Annotated[Literal["case", "size"], LATER] = "case"
    #: share of the patches that are centred on a labelled voxel or box, of a restoration on one
    #: that is no air
    foreground: Probability = 0.7
    #: of a segmentation: whether all labels of a case are as likely to be in those centres
    balanced: Annotated[bool, LATER] = False
    augmentation: AugmentationField = AugmentationField()
    early_stopping: EarlyStoppingField | None = None
    budget: Annotated[BudgetField | None, LATER] = None
    #: weights to begin with; None = fresh ones
    transfer: Annotated[TransferField | None, LATER] = None
    #: what surrounds the training; None = nothing of the kind
    pretraining: Annotated[PretrainingField | None, LATER] = None
    semi_supervised: Annotated[SemiSupervisedField | None, LATER] = None
    adversarial: Annotated[AdversarialField | None, LATER] = None
    generated: Annotated[GeneratedField | None, LATER] = None
    #: the validation part is looked at every so many epochs
    validate_every: int = Field(default=1, ge=1)
    split: SplitField = SplitField()
    snapshot: Annotated[SnapshotField, LATER] = SnapshotField()
    evaluation: Annotated[EvaluationField, LATER] = EvaluationField()
    #: by which the candidate is held against the active version; None = the usual rule
    gate: Annotated[Rule | None, LATER] = None
    seed: int = Field(default=0, ge=0, lt=2**32)
    #: what the predictor is told, by kind: score thresholds and the like
    options: dict[str, Any] = Field(default_factory=dict)
    demonstration: bool = False
    licence: str = "unstated"
    description: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Recipe:
        if self.loss not in _LOSSES[self.kind]:
            message = f"a {self.kind} is trained with the loss {' or '.join(_LOSSES[self.kind])}"
            raise ValueError(message)
        if (self.kind == "restoration") != (self.degradation is not None):
            message = "a restoration, and nothing else, states a degradation"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _numbers_its_labels(self) -> Recipe:
        if bool(self.labels) == (self.kind == "restoration"):
            message = "labels are missing" if not self.labels else "a restoration has no labels"
            raise ValueError(message)
        first = 1 if self.kind == "segmentation" else 0
        if [label.number for label in self.labels] != [*range(first, first + len(self.labels))]:
            message = f"labels are numbered {first}, {first + 1} ... in order"
            raise ValueError(message)
        if len({label.name for label in self.labels}) != len(self.labels):
            message = "two labels have the same name"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _learns_its_classes(self) -> Recipe:
        if found := [*class_faults(self), *detector_faults(self), *variant_faults(self)]:
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _learns_its_voxels(self) -> Recipe:
        if found := list(voxel_faults(self)):
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _turns_squares(self) -> Recipe:
        rows, columns = self.input.size[-2:]
        first = self.pretraining and self.pretraining.augmentation
        if rows != columns and any(one and one.quarter for one in (self.augmentation, first)):
            message = "augmentation.quarter needs patches whose last two sides are equal"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _restores_what_was_made_worse(self) -> Recipe:
        if self.degradation is None:
            return self
        if self.input.spacing is not None or self.input.orientation is not None:
            message = "a restoration keeps the grid: neither input.spacing nor input.orientation"
            raise ValueError(message)
        if self.augmentation.noise:
            message = "noise of a restoration belongs into degradation, not into augmentation"
            raise ValueError(message)
        if self.degradation.downsample != self.options.get("scale", 1):
            message = "options.scale must be what degradation.downsample undoes"
            raise ValueError(message)
        return self

    @property
    def takes_several_labels(self) -> bool:
        """Whether any number of labels may be true of one case."""
        return self.kind == "classification" and self.options.get("activation") == "sigmoid"

    @property
    def judged_as(self) -> JudgedAs:
        """By what the held-out cases are judged."""
        return "multi-label" if self.takes_several_labels else self.kind

    @property
    def tells_objects_apart(self) -> bool:
        """Whether labels are maps in which each object has its own number."""
        return self.kind == "segmentation" and bool(self.options.get("instances"))

    @property
    def judged_labels(self) -> tuple[str, ...]:
        """The labels that are stated of a case: all but the border between objects."""
        border = self.options.get("border") if self.tells_objects_apart else None
        return tuple(label.name for label in self.labels if label.number != border)

    @property
    def learns_from_unlabelled(self) -> bool:
        """Whether cases without a label are of use."""
        return self.pretraining is not None or self.semi_supervised is not None

    def stated(self) -> dict[str, Any]:
        """Return the recipe as JSON values, its defaults included.

        What later versions of Nightshift added is left out where it is not asked for (``LATER``).
        """
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """sha256 over the canonical form: equal for equal recipes, whatever their layout."""
        canonical = json.dumps(self.stated(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def spec(self, version: str) -> ModelSpec:
        """Return what the trained bundle states about itself."""
        return ModelSpec(
            name=self.name,
            version=version,
            kind=Kind(self.kind),
            title=self.title,
            input=self.input.to_spec(),
            labels=tuple(label.to_label() for label in self.labels),
            network=self.network.name,
            network_arguments=dict(self.network.arguments),
            options=dict(self.options),
            is_demonstration=self.demonstration,
        )


def parse(text: str) -> Recipe:
    """Read a recipe from YAML.

    Raises:
        TrainingRefused: no plain YAML, or a field is missing, unknown, given twice or out of its
            range.

    """
    return check(read(text))


def read(text: str) -> object:
    """Read what YAML says, whether it is a recipe or asks for one.

    Raises:
        TrainingRefused: it is no plain YAML, or gives a field twice.

    """
    try:
        document: object = reading.plain_yaml("the recipe", text)
    except ConfigRefused as refused:
        sentence = "; ".join(refused.faults)
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from None
    return document


def check(document: object) -> Recipe:
    """Check a recipe that is already parsed, as database rows keep it.

    Raises:
        TrainingRefused: a field is missing, unknown or out of its range.

    """
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise TrainingRefused(in_words(error), Reason.TRAINING_RECIPE_INVALID) from error
    # what a bundle may state is checked by the same rules before it is trained as when it is read
    _, found = metadata.parse(metadata.dump(recipe.spec("0"), {}), digest="")
    if recipe.gate is not None:
        found += recipe.gate.faults(
            recipe.judged_as,
            recipe.judged_labels,
            tells_objects_apart=recipe.tells_objects_apart,
        )
    if found:
        raise TrainingRefused("; ".join(found), Reason.TRAINING_RECIPE_INVALID)
    return recipe


def in_words(error: ValidationError) -> str:
    """Return what is wrong with a recipe in one line, without what was written there."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'recipe'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    )
