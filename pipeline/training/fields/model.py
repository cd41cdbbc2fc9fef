"""What a model is given, what it is made of, and what it says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.models.spec import InputSpec, Label, TableValue
from pipeline.results import Code
from pipeline.training.fields.base import LATER, Share, Strict


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


class TableField(Strict):
    """A value of the patient that the network reads beside images, as (value - mean) / scale."""

    name: Literal["age", "sex", "weight", "size"]
    mean: float = 0.0
    scale: float = Field(default=1.0, gt=0)


class InputField(Strict):
    """What the network is given; the predictor prepares its input by the same numbers."""

    modalities: tuple[str, ...] = Field(min_length=1)
    spatial_dims: Literal[2, 3] = 3
    #: the series of a case; of a single image 3 = its colours
    channels: int = Field(default=1, ge=1, le=16)
    #: which images of a case are its channels, counted from 0; () = all
    images: Annotated[tuple[Annotated[int, Field(ge=0, le=15)], ...], LATER] = ()
    #: axes of the network, "RAS" for most public bundles; None = (slices, rows, columns)
    orientation: str | None = Field(default=None, pattern="^[RLAPSI]{3}$")
    #: mm along (slices, rows, columns)
    spacing: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    window: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (0.5, 99.5)
    #: voxels: the patch (segmentation, detection) or the size resized to (classification)
    size: tuple[Annotated[int, Field(ge=8, le=1024)], ...]
    overlap: Share = 0.25
    #: what the network reads of the patient, in the order of its values
    table: Annotated[tuple[TableField, ...], LATER] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> InputField:
        if self.images and len(self.images) != self.channels:
            message = f"images needs {self.channels} numbers, one for each channel"
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

    def to_spec(self) -> InputSpec:
        """Return the input as model specifications hold it."""
        stated = self.model_dump(exclude={"images", "table"})
        return InputSpec(
            **stated, table=tuple(TableValue(**value.model_dump()) for value in self.table)
        )


class NetworkField(Strict):
    """A network of our table and its arguments."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
