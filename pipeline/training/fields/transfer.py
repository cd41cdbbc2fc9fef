"""What a training begins with, other than chance."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.training.fields.base import Strict


class FrozenField(Strict):
    """A part of the network that stays as it was taken over, its batch statistics included."""

    #: the name of the part, as weights are named: ``layer1`` holds ``layer1.0.conv1.weight``
    part: str = Field(min_length=1, max_length=200)
    #: it learns with the rest after so many epochs; None = never
    epochs: int | None = Field(default=None, ge=1)


class TransferField(Strict):
    """Weights that were learnt elsewhere, for all that has the same name and shape."""

    #: a registered model, ``name@version``; or a file of weights beside the manifest
    source: str = Field(min_length=1, max_length=200)
    #: beginnings of names there -> what they are here; of several that fit, the longest counts
    rename: dict[str, str] = Field(default_factory=dict, max_length=64)
    #: parts that begin afresh although the source has them
    reset: tuple[str, ...] = Field(default=(), max_length=64)
    frozen: tuple[FrozenField, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _names_one_place(self) -> TransferField:
        if any(part in ("..", ".", "") for part in self.source.split("/")) or "\\" in self.source:
            message = "source is name@version, or a file in or below the folder of the manifest"
            raise ValueError(message)
        return self
