"""How a model learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.training.fields.base import Strict


class OptimiserField(Strict):
    """How weights move."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    #: cosine: one half wave from the rate down to a hundredth of it over all epochs
    schedule: Literal["constant", "cosine"] = "cosine"
    #: the norm gradients are clipped to; None = not clipped
    clip: float | None = Field(default=1.0, gt=0)


class EarlyStoppingField(Strict):
    """Stop when the validation score has not risen for ``patience`` epochs."""

    patience: int = Field(ge=1)
