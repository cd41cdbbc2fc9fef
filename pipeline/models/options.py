"""The ``options`` of a bundle's metadata, one closed set for each kind of model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.models.spec import Kind
from pipeline.preprocess.steps import ImageStep, makes_mask

#: float32 is the default: bfloat16 gives other labels on other machines, so a model must ask.
Dtype = Literal["float32", "bfloat16"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AveragingOptions(_Options):
    """How several answers become one, see ``pipeline.models.averaging``."""

    #: networks whose weights the bundle holds: a member's begin with its number and a dot, "0."
    members: int = Field(default=1, ge=1, le=16)
    #: axes of the network's input, from 0, along which mirrored views are seen too: all
    #: combinations, so three axes make eight views
    flips: tuple[Annotated[int, Field(ge=0, le=2)], ...] = Field(default=(), max_length=3)
    #: whether views turned by quarters in the last two axes are seen too; windows must be square
    turns: bool = False
    #: what is averaged: the scores that logits stand for, or the logits
    average: Literal["scores", "logits"] = "scores"

    @property
    def is_averaged(self) -> bool:
        """Whether there is more than one answer."""
        return self.members > 1 or bool(self.flips) or self.turns


class SegmentationOptions(AveragingOptions):
    """How a label map is made."""

    #: auto: the fastest that was measured to agree with float32 on this machine; else float32
    dtype: Dtype | Literal["auto"] = "float32"
    #: windows in one forward pass; None = 2 on a CPU, 4 on a GPU
    batch: int | None = Field(default=None, ge=1, le=64)
    #: run the network only on the box of values above the window's low end (MONAI's
    #: CropForeground). What lies outside is background. Needs ``input.window``.
    crop_foreground: bool = False
    #: how much of a voxel's sum a window gives: less towards its borders, or all windows alike
    blend: Literal["gaussian", "constant"] = "gaussian"
    #: what is interpolated on the way back to the volume, where the largest then wins
    interpolates: Literal["logits", "probabilities"] = "logits"
    #: whether each connected part of a label is an object of its own, with mask, box and score
    instances: bool = False
    #: objects that a network finds one by one (Mask R-CNN): less certain ones are left out
    score_threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    #: objects of fewer voxels are left out
    minimum_voxels: int = Field(default=1, ge=1)
    #: number of the label that stands for borders between touching objects
    border: int | None = Field(default=None, ge=1, le=255)


class ClassificationOptions(AveragingOptions):
    """How scores are made."""

    dtype: Dtype = "float32"
    #: softmax: exactly one label holds; sigmoid: any number of labels may hold
    activation: Literal["softmax", "sigmoid"] = "softmax"
    #: how the image meets ``input.size``: stretched, or cut from the middle and padded with zeros
    fit: Literal["resize", "crop"] = "resize"
    #: how the scores of the frames of one image, or of the slices of a volume, become one; top:
    #: the mean of the ``top`` highest
    frames: Literal["mean", "max", "top"] = "mean"
    top: int = Field(default=3, ge=1, le=10_000)
    #: whether the scores of every frame or slice are kept beside it, where there are several
    keep_frames: bool = True
    #: inputs in one forward pass, of all jobs together; None = by their size, at most 32
    batch: int | None = Field(default=None, ge=1, le=256)


class DetectionOptions(_Options):
    """Which boxes are reported."""

    dtype: Dtype = "float32"
    batch: int | None = Field(default=None, ge=1, le=64)
    score_threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    #: of two boxes that overlap more than this (intersection over union) the better one stays
    nms_iou: float = Field(default=0.2, gt=0.0, lt=1.0)
    maximum: int = Field(default=100, ge=1, le=1000)


class ThresholdOptions(_Options):
    """The rules of a mask made from Hounsfield units alone."""

    region: Literal["body", "lung"]
    #: what is denser may be body
    body_hu: float = -500.0
    #: what is lighter, inside the body, may be lung
    air_hu: float = -350.0
    #: how many components are kept, the largest first
    components: int = Field(default=2, ge=1, le=16)
    #: a kept component has at least this share of the largest
    minimum_share: float = Field(default=0.1, ge=0.0, le=1.0)
    minimum_ml: float = Field(default=5.0, ge=0.0)
    #: vessels and small nodules narrower than twice this are closed; 0 = not at all
    closing_mm: float = Field(default=0.0, ge=0.0, le=20.0)


class ClassicalOptions(_Options):
    """The image steps that make a mask, see ``pipeline.preprocess.steps``."""

    steps: tuple[ImageStep, ...] = Field(min_length=1, max_length=32)

    @model_validator(mode="after")
    def _end_in_a_mask(self) -> Self:
        if not makes_mask(self.steps):
            raise ValueError("no step makes a mask: threshold, otsu, grow and canny do")
        return self


class RestorationOptions(AveragingOptions):
    """How a derived image is made."""

    dtype: Dtype = "float32"
    batch: int | None = Field(default=None, ge=1, le=64)
    #: the network's answer has this many voxels for one of its input, along each axis
    scale: int = Field(default=1, ge=1, le=8)
    #: whether the network answers with what is to be added to its input
    residual: bool = False
    #: slices or frames on either side that a network of two axes sees beside the one it restores;
    #: each channel of the input becomes ``2 * beside + 1`` of the network's, in their order. Beyond
    #: the first and the last, these stand for their neighbours
    beside: int = Field(default=0, ge=0, le=8)


class ProgramOptions(_Options):
    """What the MONAI configuration of a bundle does not say, for every kind."""

    #: key under which the configuration's transforms expect the image and leave the answer
    image_key: str = Field(default="image", min_length=1, max_length=64)
    prediction_key: str = Field(default="pred", min_length=1, max_length=64)
    #: softmax: exactly one label holds; sigmoid: any number of labels may hold; none: the
    #: configuration itself turns logits into scores
    activation: Literal["softmax", "sigmoid", "none"] = "none"
    #: score below which a detection is not reported
    score_threshold: float = Field(default=0.0, ge=0.0, le=1.0)


_BY_KIND: Mapping[Kind, type[_Options]] = {
    Kind.SEGMENTATION: SegmentationOptions,
    Kind.CLASSIFICATION: ClassificationOptions,
    Kind.DETECTION: DetectionOptions,
    Kind.RESTORATION: RestorationOptions,
    Kind.THRESHOLD: ThresholdOptions,
    Kind.CLASSICAL: ClassicalOptions,
}


def parse(kind: Kind, options: Mapping[str, Any], *, is_program: bool = False) -> _Options:
    """Check ``options`` against the set of ``kind``, or of bundles that a program runs.

    Raises:
        pydantic.ValidationError: lists every fault.

    """
    model = ProgramOptions if is_program else _BY_KIND[kind]
    return model.model_validate(dict(options))
