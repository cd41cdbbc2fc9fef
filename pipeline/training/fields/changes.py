"""How training images are changed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipeline.training.fields.base import LATER, Probability, Strict


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
    #: smoothed by a Gaussian of a standard deviation from 0 to this, in voxels
    blur: Annotated[float, Field(ge=0, le=8), LATER] = 0.0
    #: probability that a patch is turned by a quarter, exactly: its last two axes change places.
    #: With mirror images that gives all eight ways in which a square lies
    quarter: Annotated[Probability, LATER] = 0.0
    #: turned by +- so many degrees; a volume about each of its axes
    rotate: Annotated[float, Field(ge=0, le=180), LATER] = 0.0
    #: moved by +- this share of each side
    translate: Annotated[float, Field(ge=0, le=0.5), LATER] = 0.0
    #: what is seen becomes up to 1 + this times larger or smaller
    zoom: Annotated[float, Field(ge=0, le=1), LATER] = 0.0
    #: up to this share of each side is cut off somewhere, and the rest fills the patch
    crop: Annotated[float, Field(ge=0, le=0.9), LATER] = 0.0
    #: standard deviation, in voxels, of how far the control points of a smooth bend move
    elastic: Annotated[float, Field(ge=0, le=32), LATER] = 0.0
    #: of a classification: each batch is mixed with itself in another order, by shares drawn from
    #: the beta distribution with both parameters this (Zhang et al., "mixup: Beyond Empirical Risk
    #: Minimization", ICLR 2018); 0 = not at all
    mixup: Annotated[float, Field(ge=0, le=8), LATER] = 0.0
    #: probability that a series or a value of the table is taken for missing; one series stays
    missing: Annotated[Probability, LATER] = 0.0

    @property
    def moves_voxels(self) -> bool:
        """Whether anything but a mirror image moves voxels."""
        return any((self.rotate, self.translate, self.zoom, self.crop, self.elastic))


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
