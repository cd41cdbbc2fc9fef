"""How training images are changed."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.training.fields.base import Probability, Strict


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
