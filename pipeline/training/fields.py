"""The parts of a recipe, each checked by itself."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.models.spec import Label
from pipeline.results import Code

#: of the overlap of boxes: small ones are found long before they are outlined
HIT_IOU: Final = 0.1
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Strict(BaseModel):
    """Frozen; an unknown field is a mistake, not a wish to be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CodeField(Strict):
    """A coded concept."""

    scheme: str = Field(max_length=16)
    value: str = Field(max_length=64)
    meaning: str = Field(max_length=64)

    def to_code(self) -> Code:
        """Return the value that results carry."""
        return Code(scheme=self.scheme, value=self.value, meaning=self.meaning)


class LabelField(Strict):
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


class InputField(Strict):
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


class NetworkField(Strict):
    """A network of our table and its arguments."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class OptimiserField(Strict):
    """How weights move."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    #: cosine: one half wave from the rate down to a hundredth of it over all epochs
    schedule: Literal["constant", "cosine"] = "cosine"
    #: the norm gradients are clipped to; None = not clipped
    clip: float | None = Field(default=1.0, gt=0)


class AugmentationField(Strict):
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


class EarlyStoppingField(Strict):
    """Stop when the validation score has not risen for ``patience`` epochs."""

    patience: int = Field(ge=1)


class SplitField(Strict):
    """Shares of the patients, for manifests without a split column."""

    validation: Share = 0.15
    held_out: Share = 0.2

    @model_validator(mode="after")
    def _leaves_cases_to_train_on(self) -> SplitField:
        if self.validation + self.held_out >= 1:
            message = "validation and held_out leave no patient to train on"
            raise ValueError(message)
        return self


class EvaluationField(Strict):
    """How the held-out cases are judged."""

    #: how far apart two surfaces may be and still count as one
    surface_tolerance_mm: float = Field(default=2.0, gt=0, le=100)
    #: a detection hits a box when they overlap at least this much (intersection over union)
    hit_iou: float = Field(default=HIT_IOU, gt=0, le=1)
    #: numbers of a subgroup are not stated for fewer patients
    least_patients: int = Field(default=10, ge=1)


class SnapshotField(Strict):
    """How the cases are kept."""

    #: train on copies without who they are of (PS3.15 Annex E), hashed and kept in place of the
    #: originals
    deidentify: bool = False


class DegradationField(Strict):
    """How images are made worse, for a restoration to learn the way back; in this order.

    Everything is drawn anew for every patch, from the seed of the recipe.
    """

    #: so many voxels along each axis of the network become one, their mean
    downsample: int = Field(default=1, ge=1, le=8)
    #: Poisson noise: photons that a voxel of value 1 is counted from, drawn between these two
    photons: tuple[float, float] | None = None
    #: Gaussian noise: its standard deviation in units of the 0..1 input, drawn between these two
    noise: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _makes_images_worse(self) -> DegradationField:
        for pair in (self.photons, self.noise):
            if pair is not None and not 0 < pair[0] <= pair[1]:
                message = "photons and noise run from a low to a high number above 0"
                raise ValueError(message)
        if self.downsample == 1 and self.photons is None and self.noise is None:
            message = "it leaves images as they are"
            raise ValueError(message)
        return self
