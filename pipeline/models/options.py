"""The ``options`` of a bundle's metadata, one closed set for each kind of model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.models.spec import Kind

#: float32 is the default: bfloat16 gives other labels on other machines, so a model must ask.
Dtype = Literal["float32", "bfloat16"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SegmentationOptions(_Options):
    """How a label map is made."""

    dtype: Dtype = "float32"
    #: windows in one forward pass; None = 2 on a CPU, 4 on a GPU
    batch: int | None = Field(default=None, ge=1, le=64)
    #: run the network only on the box of values above the window's low end (MONAI's
    #: CropForeground). What lies outside is background. Needs ``input.window``.
    crop_foreground: bool = False


class ClassificationOptions(_Options):
    """How scores are made."""

    dtype: Dtype = "float32"
    #: softmax: exactly one label holds; sigmoid: any number of labels may hold
    activation: Literal["softmax", "sigmoid"] = "softmax"
    #: how the image meets ``input.size``: stretched, or cut from the middle and padded with zeros
    fit: Literal["resize", "crop"] = "resize"
    #: how the scores of the frames of one image become one
    frames: Literal["mean", "max"] = "mean"
    batch: int = Field(default=8, ge=1, le=256)


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


_BY_KIND: Mapping[Kind, type[_Options]] = {
    Kind.SEGMENTATION: SegmentationOptions,
    Kind.CLASSIFICATION: ClassificationOptions,
    Kind.DETECTION: DetectionOptions,
    Kind.THRESHOLD: ThresholdOptions,
}


def parse(kind: Kind, options: Mapping[str, Any]) -> _Options:
    """Check ``options`` against the set of ``kind``.

    Raises:
        pydantic.ValidationError: lists every fault.

    """
    return _BY_KIND[kind].model_validate(dict(options))
