"""What is kept of the values of an image, to see later whether images have changed."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import Input, Volume

#: of a larger image every n-th value is looked at, n odd so that no row or column is favoured
_MOST_VALUES: Final = 200_000
PERCENTILES: Final = (5, 50, 95)


def summarise(image: Input) -> dict[str, float]:
    """Return mean, standard deviation and percentiles of the finite values, in their unit.

    Of large images an evenly spread part is looked at.

    Returns:
        ``mean``, ``sd``, ``p5``, ``p50``, ``p95``; nothing where no value is finite.

    """
    if isinstance(image, Volume):
        some = _some(image.stored) * image.slope + image.intercept
    else:
        some = _some(image.pixels)
    some = some[np.isfinite(some)]
    if not some.size:
        return {}
    named = zip(PERCENTILES, np.percentile(some, PERCENTILES), strict=True)
    found = {"mean": some.mean(), "sd": some.std(), **{f"p{at}": value for at, value in named}}
    return {name: round(float(value), 4) for name, value in found.items()}


def _some(values: NDArray[Any]) -> NDArray[np.float64]:
    flat = values.reshape(-1)
    stride = math.ceil(flat.size / _MOST_VALUES) | 1
    return flat[::stride].astype(np.float64)
