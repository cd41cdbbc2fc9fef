"""What a model is given, what it is made of, and what it says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.models.spec import Label
from pipeline.results import Code
from pipeline.training.fields.base import Share, Strict


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
