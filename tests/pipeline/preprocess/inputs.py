"""Inputs and chains that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.preprocess import preparing
from pipeline.preprocess.preparing import Prepared
from pipeline.preprocess.steps import ImageStep
from pipeline.volume import Image, Input, Volume

_CHAIN: TypeAdapter[tuple[ImageStep, ...]] = TypeAdapter(tuple[ImageStep, ...])
#: mm between slices, rows and columns
SPACING = (2.5, 1.0, 0.5)


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


def chain(*steps: dict[str, Any]) -> tuple[ImageStep, ...]:
    return _CHAIN.validate_python(steps)


def volume(array: NDArray[Any], spacing: tuple[float, float, float] = SPACING) -> Volume:
    """Return Hounsfield units on an axial grid with its first voxel at (-30, 14, 250) mm."""
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, spacing[2]], [0, spacing[1], 0], [spacing[0], 0, 0]]
    affine[:3, 3] = (-30.0, 14.0, 250.0)
    return Volume(stored=array, affine=affine, unit="HU")


def image(array: NDArray[Any], spacing: tuple[float, float] | None = (1.0, 0.5)) -> Image:
    return Image(pixels=array, spacing=spacing)


def run(source: Input, *steps: dict[str, Any]) -> Prepared:
    return preparing.prepare(source, chain(*steps), checkpoint=go_on)


def values(prepared: Prepared) -> NDArray[Any]:
    """Return the values that came out, in their unit."""
    made = prepared.image
    return made.values() if isinstance(made, Volume) else made.pixels
