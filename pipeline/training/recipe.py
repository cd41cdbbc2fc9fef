"""The recipe: one YAML document that names everything a training decides.

Same recipe, same snapshot, same device kind: same weights. Nothing in it is code: networks,
losses, optimisers and augmentations are chosen by name from tables of ours.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import TrainingRefused
from pipeline.models import metadata
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.reasons import Reason
from pipeline.results import Code

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class _Strict(BaseModel):
    """Frozen; an unknown field is a mistake, not a wish to be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CodeField(_Strict):
    """A coded concept."""

    scheme: str = Field(max_length=16)
    value: str = Field(max_length=64)
    meaning: str = Field(max_length=64)

    def to_code(self) -> Code:
        """Return the value that results carry."""
        return Code(scheme=self.scheme, value=self.value, meaning=self.meaning)


class LabelField(_Strict):
    """One class. ``number`` is the output channel, the mask value or the box class."""

    number: int = Field(ge=0, le=255)
    name: str = Field(min_length=1, max_length=64)
    code: CodeField | None = None
    category: CodeField | None = None

    def to_label(self) -> Label:
        """Return the label as model specifications hold it."""
        return Label(
            number=self.number,
            name=self.name,
            code=self.code.to_code() if self.code else None,
            category=self.category.to_code() if self.category else None,
        )


class InputField(_Strict):
    """What the network is given; the predictor prepares its input by the same numbers."""

    modalities: tuple[str, ...] = Field(min_length=1)
    spatial_dims: Literal[2, 3] = 3
    #: 3 = the colours of a single image
    channels: Literal[1, 3] = 1
    #: axes of the network, "RAS" for most public bundles; None = (slices, rows, columns)
    orientation: str | None = Field(default=None, pattern="^[RLAPSI]{3}$")
    #: mm along (slices, rows, columns)
    spacing: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    window: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (0.5, 99.5)
    #: voxels: the patch (segmentation, detection) or the size resized to (classification)
    size: tuple[Annotated[int, Field(ge=8, le=1024)], ...]
    overlap: Share = 0.25

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> InputField:
        if self.channels == 3 and self.spatial_dims == 3:
            message = "a volume has no colours: channels must be 1"
            raise ValueError(message)
        if len(self.size) != self.spatial_dims:
            message = f"size needs {self.spatial_dims} numbers"
            raise ValueError(message)
        if self.spacing is not None and len(self.spacing) != self.spatial_dims:
            message = f"spacing needs {self.spatial_dims} numbers"
            raise ValueError(message)
        for pair in (self.window, self.percentiles):
            if pair is not None and not pair[0] < pair[1]:
                message = "window and percentiles run from low to high"
                raise ValueError(message)
        return self


class NetworkField(_Strict):
    """A network of our table and its arguments."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class OptimiserField(_Strict):
    """How weights move."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    #: cosine: one half wave from the rate down to a hundredth of it over all epochs
    schedule: Literal["constant", "cosine"] = "cosine"
    #: the norm gradients are clipped to; None = not clipped
    clip: float | None = Field(default=1.0, gt=0)


class AugmentationField(_Strict):
    """Random changes of training cases; validation and held-out cases are never changed."""

    #: probability of a mirror image, along each axis
    flip: Probability = 0.0
    #: standard deviation of added noise, in units of the 0..1 input
    noise: float = Field(default=0.0, ge=0, le=1)
    #: values are scaled by 1 +- this
    scale: float = Field(default=0.0, ge=0, lt=1)
    #: values are moved by +- this
    shift: float = Field(default=0.0, ge=0, le=1)
    #: gamma is drawn from [1 / (1 + this), 1 + this]
    contrast: float = Field(default=0.0, ge=0, le=3)


class EarlyStoppingField(_Strict):
    """Stop when the validation score has not risen for ``patience`` epochs."""

    patience: int = Field(ge=1)


class SplitField(_Strict):
    """Shares of the patients, for manifests without a split column."""

    validation: Share = 0.15
    held_out: Share = 0.2

    @model_validator(mode="after")
    def _leaves_cases_to_train_on(self) -> SplitField:
        if self.validation + self.held_out >= 1:
            message = "validation and held_out leave no patient to train on"
            raise ValueError(message)
        return self


class SnapshotField(_Strict):
    """How the cases are kept."""

    #: train on copies without who they are of (PS3.15 Annex E), hashed and kept in place of the
    #: originals
    deidentify: bool = False


class Recipe(_Strict):
    """One recipe, checked."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    #: major number of the versions that come of it
    version: int = Field(default=1, ge=0)
    title: str = Field(max_length=120)
    kind: Literal["classification", "segmentation", "detection"]
    network: NetworkField
    input: InputField
    labels: tuple[LabelField, ...] = Field(min_length=1)
    loss: Literal["cross-entropy", "dice-cross-entropy", "retinanet"]
    optimiser: OptimiserField = OptimiserField()
    epochs: int = Field(ge=1, le=100_000)
    batch: int = Field(default=2, ge=1, le=1024)
    #: patches drawn from each case per epoch (segmentation, detection)
    patches: int = Field(default=1, ge=1, le=1024)
    #: share of the patches that are centred on a labelled voxel or box
    foreground: Probability = 0.7
    augmentation: AugmentationField = AugmentationField()
    early_stopping: EarlyStoppingField | None = None
    #: the validation part is looked at every so many epochs
    validate_every: int = Field(default=1, ge=1)
    split: SplitField = SplitField()
    snapshot: SnapshotField = SnapshotField()
    seed: int = Field(default=0, ge=0, lt=2**32)
    #: what the predictor is told, by kind: score thresholds and the like
    options: dict[str, Any] = Field(default_factory=dict)
    demonstration: bool = False
    licence: str = "unstated"
    description: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Recipe:
        losses = {
            "classification": "cross-entropy",
            "segmentation": "dice-cross-entropy",
            "detection": "retinanet",
        }
        if self.loss != losses[self.kind]:
            message = f"a {self.kind} is trained with the loss {losses[self.kind]}"
            raise ValueError(message)
        if self.kind == "detection" and self.input.spatial_dims != 3:
            message = "a detection is trained on volumes: input.spatial_dims must be 3"
            raise ValueError(message)
        first = 1 if self.kind == "segmentation" else 0
        if [label.number for label in self.labels] != [*range(first, first + len(self.labels))]:
            message = f"labels are numbered {first}, {first + 1} ... in order"
            raise ValueError(message)
        if len({label.name for label in self.labels}) != len(self.labels):
            message = "two labels have the same name"
            raise ValueError(message)
        return self

    @property
    def digest(self) -> str:
        """sha256 over the canonical form: equal for equal recipes, whatever their layout."""
        # what came later and is not asked for leaves the digests of older recipes as they were
        left_out = {"snapshot"} if self.snapshot == SnapshotField() else set()
        stated = self.model_dump(mode="json", exclude=left_out)
        canonical = json.dumps(stated, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def spec(self, version: str) -> ModelSpec:
        """Return what the trained bundle states about itself."""
        return ModelSpec(
            name=self.name,
            version=version,
            kind=Kind(self.kind),
            title=self.title,
            input=InputSpec(**self.input.model_dump()),
            labels=tuple(label.to_label() for label in self.labels),
            network=self.network.name,
            network_arguments=dict(self.network.arguments),
            options=dict(self.options),
            is_demonstration=self.demonstration,
        )


def parse(text: str) -> Recipe:
    """Read a recipe from YAML.

    Raises:
        TrainingRefused: not YAML, or a field is missing, unknown or out of its range.

    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        sentence = "the recipe is not valid YAML"
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from error
    return check(document)


def check(document: object) -> Recipe:
    """Check a recipe that is already parsed, as database rows keep it.

    Raises:
        TrainingRefused: a field is missing, unknown or out of its range.

    """
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'recipe'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise TrainingRefused(faults, Reason.TRAINING_RECIPE_INVALID) from error
    # what a bundle may state is checked by the same rules before it is trained as when it is read
    _, found = metadata.parse(metadata.dump(recipe.spec("0"), {}), digest="")
    if found:
        raise TrainingRefused("; ".join(found), Reason.TRAINING_RECIPE_INVALID)
    return recipe
