"""How a model learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.training.fields.base import LATER, Share, Strict


class DropField(Strict):
    """How the learning rate drops, under the schedules ``step`` and ``plateau``."""

    #: the rate is multiplied by this
    factor: float = Field(default=0.1, gt=0, lt=1)
    #: step: after every so many epochs; plateau: after so many looks at the validation part
    #: without a better score
    epochs: int = Field(default=10, ge=1)


class OptimiserField(Strict):
    """How weights move."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    #: of SGD, by Nesterov's rule; 0 = none
    momentum: Annotated[Share, LATER] = 0.9
    #: decoupled from the gradient under AdamW, an L2 penalty under Adam and SGD
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    #: of the sum of the absolute weights, neither biases nor norms, in the loss
    l1: Annotated[float, LATER, Field(ge=0, le=1)] = 0.0
    #: after the warm-up. cosine: one half wave from the rate down to a hundredth of it
    schedule: Literal["constant", "cosine", "step", "plateau"] = "cosine"
    drop: Annotated[DropField, LATER] = DropField()
    #: epochs in which the rate climbs linearly to what is stated
    warm_up: Annotated[int, LATER, Field(ge=0)] = 0
    #: the norm gradients are clipped to; None = not clipped
    clip: float | None = Field(default=1.0, gt=0)
    #: batches whose gradients are averaged before the weights move
    accumulate: Annotated[int, LATER, Field(ge=1, le=1024)] = 1
    #: decay of the exponential moving average of the weights, which is then what is validated and
    #: kept; None = the weights themselves
    ema: Annotated[Share | None, LATER] = None
    #: mixed precision: float16 under a gradient scaler on CUDA, bfloat16 on a CPU with AMX
    amp: Annotated[bool, LATER] = False

    @model_validator(mode="after")
    def _drops_by_a_schedule(self) -> OptimiserField:
        if self.drop != DropField() and self.schedule not in ("step", "plateau"):
            message = f"drop belongs to the schedules step and plateau, not to {self.schedule}"
            raise ValueError(message)
        return self


class EarlyStoppingField(Strict):
    """Stop when the validation score has not risen for ``patience`` epochs."""

    patience: int = Field(ge=1)
