"""What image steps hand on to each other, and what each of them is: data with one function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from pipeline.errors import ModelMismatch
from pipeline.volume import Input, Volume

STRICT: Final = ConfigDict(extra="forbid")
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Millimetres: TypeAlias = Annotated[float, Field(ge=0.01, le=10_000)]
Sigma: TypeAlias = Annotated[float, Field(ge=0.01, le=100)]
Checkpoint: TypeAlias = Callable[[], None]

#: a grid beyond this (4 GiB as float32) is refused before memory is asked for
LARGEST_GRID: Final = 2**30


@dataclass(frozen=True, kw_only=True)
class Raster:
    """An image between two steps, and where it lies on the image it was made of.

    ``array`` has shape (slices or frames, rows, columns), colours last. A value is
    ``array * slope + intercept``. ``matrix`` (4, 4) maps its index to that of ``source``; each of
    its axes runs along one of the source's.
    """

    array: NDArray[Any] = field(repr=False)
    source: Input = field(repr=False)
    matrix: NDArray[np.float64]
    slope: float = 1.0
    intercept: float = 0.0
    unit: str = ""
    is_mask: bool = False
    #: what the last step measured, JSON values
    found: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (slices or frames, rows, columns)."""
        first, rows, columns = self.array.shape[:3]
        return first, rows, columns

    @property
    def has_frames(self) -> bool:
        """Whether the first axis is no axis in space, so that nothing is mixed along it."""
        return not isinstance(self.source, Volume)

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """From the index to LPS mm; None where the image has no place in the patient."""
        if not isinstance(self.source, Volume):
            return None
        return np.asarray(self.source.affine @ self.matrix)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm of (slices, rows, columns); frames are infinitely far apart.

        Raises:
            ModelMismatch: the image states none.

        """
        if isinstance(self.source, Volume):
            lengths = np.linalg.norm((self.source.affine @ self.matrix)[:3, :3], axis=0)
            return float(lengths[0]), float(lengths[1]), float(lengths[2])
        if self.source.spacing is None:
            raise ModelMismatch("a step is in millimetres, and the image states no spacing")
        rows, columns = self.source.spacing
        return np.inf, rows * float(self.matrix[1, 1]), columns * float(self.matrix[2, 2])

    def values(self) -> NDArray[np.float32]:
        """Return the values in their unit, float32.

        Raises:
            ModelMismatch: they are colours.

        """
        if self.array.ndim == 4:
            raise ModelMismatch("a step reads grey values, and the image has colours")
        values = self.array.astype(np.float32)
        if self.slope != 1.0:
            values *= np.float32(self.slope)
        if self.intercept != 0.0:
            values += np.float32(self.intercept)
        return values

    def with_values(
        self, values: NDArray[np.float32], *, unit: str | None = None, **found: Any
    ) -> Raster:
        """Return other values on the same grid; ``unit`` None: in the same unit."""
        unit = self.unit if unit is None else unit
        return replace(self, array=values, slope=1.0, intercept=0.0, unit=unit, found=found)

    def with_mask(self, mask: NDArray[np.bool_], **found: Any) -> Raster:
        """Return a mask on the same grid: 0 and 1, without a unit."""
        array = np.ascontiguousarray(mask).view(np.uint8)
        made = replace(self, array=array, slope=1.0, intercept=0.0, unit="", is_mask=True)
        return replace(made, found=found)

    def moved(self, array: NDArray[Any], step: NDArray[np.float64], **found: Any) -> Raster:
        """Return the same values on another grid; ``step`` maps its index to that of this one."""
        return replace(self, array=array, matrix=self.matrix @ step, found=found)

    def warned(self, sentence: str) -> Raster:
        """Return the same with one more warning."""
        return replace(self, warnings=(*self.warnings, sentence))


class Step(ABC):
    """What every image step is: parameters, what it takes and makes, and a function."""

    #: "any" is values or a mask
    takes: ClassVar[Literal["any", "values", "mask"]] = "values"
    #: "same" is what it was given
    makes: ClassVar[Literal["same", "mask"]] = "same"
    #: whether its values are still in the unit of the source
    keeps_unit: ClassVar[bool] = True

    @property
    def takes_images(self) -> bool:
        """Whether it can do without a place in the patient."""
        return True

    @property
    def sizes(self) -> tuple[Any, ...]:
        """What it states along axes: each a number for all, or a tuple."""
        return ()

    @abstractmethod
    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """Return what the step makes of an image. ``checkpoint`` may raise to stop it.

        Raises:
            ModelMismatch: the image is not what the step can work on.
            Interrupted, DeadlineExceeded: by ``checkpoint``.

        """


def exactly_one(step: object, *names: str) -> None:
    """Check that one of several parameters is stated.

    Raises:
        ValueError: none is, or several are.

    """
    if sum(getattr(step, name) is not None for name in names) != 1:
        raise ValueError(f"it wants exactly one of {', '.join(names)}")


def parts(array: NDArray[Any], *, planes: bool) -> Iterable[NDArray[Any]]:
    """Return the planes of an array, each for itself, or the whole: views that can be written."""
    return array if planes else (array,)


def lengths(raster: Raster, *, in_mm: bool, slicewise: bool) -> tuple[float, float, float]:
    """Return the size of a voxel in mm or as 1; infinite along an axis that is not mixed.

    Raises:
        ModelMismatch: in mm, and the image states no spacing.

    """
    first, rows, columns = raster.spacing if in_mm else (1.0, 1.0, 1.0)
    return (np.inf if slicewise or raster.has_frames else first), rows, columns
