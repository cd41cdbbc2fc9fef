"""The image steps by their names, and chains of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, Self, TypeAlias

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from pipeline.preprocess import filters, geometry, intensities, morphology, regions
from pipeline.preprocess.raster import Step

_ONE_STEP: Final = ConfigDict(
    extra="forbid", json_schema_extra={"minProperties": 1, "maxProperties": 1}
)
Kind: TypeAlias = Literal["volume", "image"]


@dataclass(frozen=True, kw_only=True, config=_ONE_STEP)
class ImageStep:
    """One step: its name, and below it its parameters."""

    resize: geometry.Resize | None = None
    resample: geometry.Resample | None = None
    crop: geometry.CropBox | None = None
    pad: geometry.Pad | None = None
    orient: geometry.Orient | None = None
    grey: intensities.Grey | None = None
    normalise: intensities.Normalise | None = None
    window: intensities.Window | None = None
    adjust: intensities.Adjust | None = None
    clahe: intensities.Clahe | None = None
    gaussian: filters.Gaussian | None = None
    median: filters.Median | None = None
    bilateral: filters.Bilateral | None = None
    non_local_means: filters.NonLocalMeans | None = None
    threshold: regions.Threshold | None = None
    otsu: regions.Otsu | None = None
    grow: regions.Grow | None = None
    canny: regions.Canny | None = None
    open: morphology.Open | None = None
    close: morphology.Close | None = None
    fill_holes: morphology.FillHoles | None = None
    largest: morphology.Largest | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(getattr(self, name) is not None for name in NAMES) != 1:
            raise ValueError("it is exactly one step, by its name")
        return self

    @property
    def name(self) -> str:
        """Which step it is."""
        return next(name for name in NAMES if getattr(self, name) is not None)

    @property
    def step(self) -> Step:
        """The step itself, with its parameters."""
        step: Step = getattr(self, self.name)
        return step

    def parameters(self) -> dict[str, Any]:
        """Return every parameter that is set, JSON values."""
        stated: Any = self.step
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(stated).items()
            if value is not None
        }

    def __str__(self) -> str:
        """Return the step as a reader would say it."""
        told = ", ".join(f"{name} {_shown(value)}" for name, value in self.parameters().items())
        return f"{self.name} ({told})" if told else self.name


#: every step there is
NAMES: Final = tuple(field.name for field in dataclasses.fields(ImageStep))


def faults(steps: Sequence[ImageStep], kind: Kind) -> Iterator[str]:
    """Yield why these steps cannot follow each other on such an input, each a sentence."""
    is_mask, axes = False, 3 if kind == "volume" else 2
    for one in steps:
        step, name = one.step, one.name
        if step.takes == "mask" and not is_mask:
            yield f"{name} mends a mask, and no step before it makes one"
        if step.takes == "values" and is_mask:
            yield f"{name} reads values, and a step before it made a mask of them"
        if kind == "image" and not step.takes_images:
            yield f"{name} needs a volume, with a place in the patient"
        for size in step.sizes:
            if isinstance(size, tuple) and len(size) != axes:
                yield f"{name} states {len(size)} sizes where the {kind} has {axes} axes"
        is_mask = is_mask or step.makes == "mask"


def makes_mask(steps: Sequence[ImageStep]) -> bool:
    """Say whether a mask comes out."""
    return any(one.step.makes == "mask" for one in steps)


def keeps_unit(steps: Sequence[ImageStep]) -> bool:
    """Say whether values that come out are in the unit of those that went in."""
    return all(one.step.keeps_unit for one in steps)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " x ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
