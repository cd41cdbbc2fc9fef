"""The images of the training part, looked at before anything of a recipe is decided by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import StudyRejected
from pipeline.training import reading
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import Case
from pipeline.volume import Input, Volume

#: cases of the training part that are looked at, evenly taken
_LOOKED_AT: Final = 48
#: the window of a CT is in steps of so many HU
_WINDOW_STEP: Final = 50.0


def look(cases: Sequence[Case], *, is_ct: bool, is_folded: bool) -> dict[Path, Input]:
    """Read some of the images, by their paths.

    Args:
        cases: of the training part.
        is_ct: whether values of files that do not say it are Hounsfield units.
        is_folded: whether pictures and videos in colours are turned to grey.

    Raises:
        ManifestInvalid: with those that cannot be read.

    """
    places = np.linspace(0, len(cases) - 1, min(len(cases), _LOOKED_AT)).round().astype(int)
    images, faults = {}, []
    for place in places:
        case = cases[int(place)]
        try:
            images[case.image] = _read(case.image, is_ct=is_ct, is_folded=is_folded)
        except StudyRejected as refused:
            faults.append(Fault(case.row, "image", refused.sentence))
    if faults:
        raise ManifestInvalid(faults)
    return images


def window(
    images: Sequence[Input], percentiles: tuple[float, float], *, is_ct: bool
) -> tuple[float, float] | None:
    """Return which values become 0 to 1: of CT by its numbers, of bytes all; else None.

    Args:
        images: that were looked at.
        percentiles: of the values of a CT, between which the window lies.
        is_ct: whether the values are Hounsfield units.

    """
    if is_ct:
        some = np.concatenate([_values(image).ravel()[::97] for image in images])
        low, high = np.percentile(some, percentiles)
        step = _WINDOW_STEP
        return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
    largest = max(float(_values(image).max()) for image in images)
    is_bytes = all(not isinstance(image, Volume) for image in images) and 1.0 < largest <= 255.0
    return (0.0, 255.0) if is_bytes else None


def is_colour(image: Input) -> bool:
    """Say whether an image is in colours."""
    return not isinstance(image, Volume) and image.pixels.ndim == 4


def is_sequence(image: Input) -> bool:
    """Say whether an image is a loop in grey, which a network of three axes classifies."""
    return not isinstance(image, Volume) and image.pixels.ndim == 3 and len(image.pixels) > 1


def _read(path: Path, *, is_ct: bool, is_folded: bool) -> Input:
    """Read an image for what it is: grey or in colours, a volume or not."""
    unit = "HU" if is_ct else ""
    dims = reading.axes_of(path) if path.suffix == ".npy" else 2
    read = reading.coloured(path)
    if read is None:
        return reading.read_image(path, spatial_dims=dims, unit=unit, also="volume")
    try:
        return read(path, is_colour=False, to_grey=is_folded)
    except StudyRejected:
        return read(path, is_colour=True)


def _values(image: Input) -> np.ndarray[Any, Any]:
    return image.values() if isinstance(image, Volume) else image.pixels
