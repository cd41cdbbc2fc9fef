"""A mammogram: a breast against the left edge, dense tissue in it. Truth is the breast."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import Image

_AIR, _FAT, _DENSE = 60.0, 900.0, 700.0


@dataclass(frozen=True, kw_only=True)
class BreastParameters:
    """All that decides the pixels of a mammogram phantom."""

    #: (rows, columns)
    shape: tuple[int, int] = (160, 128)
    #: (between rows, between columns), mm
    spacing: tuple[float, float] = (1.4, 1.4)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class BreastPhantom:
    """A mammogram and the truth about it: (1, rows, columns), True where the breast is.

    ``analytic_pixels`` is the area of the half ellipse in pixels.
    """

    image: Image
    truth: NDArray[np.bool_] = field(repr=False)
    analytic_pixels: float
    parameters: BreastParameters


def breast(parameters: BreastParameters) -> BreastPhantom:
    """Draw one mammogram, as for presentation: what is dense is bright.

    Returns:
        Grey float32 pixels, 0 to 4095, of one frame.

    """
    rng = np.random.default_rng((parameters.seed, 7))
    rows, columns = parameters.shape
    half_row, half_column = rng.uniform(0.36, 0.44) * rows, rng.uniform(0.55, 0.7) * columns
    row, column = np.ogrid[:rows, :columns]
    y, x = (row + 0.5 - rows / 2) / half_row, (column + 0.5) / half_column
    depth = np.maximum(1 - y**2 - x**2, 0)
    dense = np.exp(-8 * ((y - rng.uniform(-0.2, 0.2)) ** 2 + (x - 0.5) ** 2))
    truth = depth > 0
    values = _AIR + truth * (_FAT + 600 * np.sqrt(depth) + _DENSE * dense)
    values += 15 * rng.standard_normal(parameters.shape)
    pixels = np.rint(values.clip(0, 4095)).astype(np.float32)
    return BreastPhantom(
        image=Image(pixels=pixels[None], spacing=parameters.spacing),
        truth=truth[None],
        analytic_pixels=float(np.pi / 2 * half_row * half_column),
        parameters=parameters,
    )
