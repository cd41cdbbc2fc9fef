"""Which values become black and white: by modality, and for CT by where the findings are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.results import Detection, Prediction
from pipeline.volume import Input, Volume

#: a share of voxels with the density of aerated lung above this asks for the lung window
_LUNG_SHARE: Final = 0.15
_SAMPLE: Final = 48


@dataclass(frozen=True)
class Window:
    """Values from ``low`` to ``high`` become black to white."""

    name: str
    low: float
    high: float

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return grey values; a window without width shows everything above it white."""
        scale = 255.0 / max(self.high - self.low, 1e-6)
        shifted = (values.astype(np.float32) - np.float32(self.low)) * np.float32(scale)
        return np.asarray(np.clip(np.nan_to_num(shifted), 0, 255).astype(np.uint8))


LUNG: Final = Window("lung, -1350 to 150 HU", -1350.0, 150.0)
SOFT_TISSUE: Final = Window("soft tissue, -160 to 240 HU", -160.0, 240.0)
SUV: Final = Window("SUV, 0 to 7 g/mL", 0.0, 7.0)
_COLOR: Final = Window("as stored", 0.0, 255.0)


def window_of(image: Input, prediction: Prediction) -> Window:
    """Choose the window for ``image``.

    CT: lung where the findings (or, without any, the middle of the image) hold aerated lung,
    else soft tissue. PET: SUV. Everything else: percentiles 1 and 99.5 of what is not background.
    """
    voxels = image.stored if isinstance(image, Volume) else image.pixels
    if voxels.ndim == 4:
        return _COLOR
    if image.unit == "HU":
        sample = _values(image, voxels[_around_findings(voxels.shape, prediction)])
        is_lung = np.mean((sample > -950.0) & (sample < -500.0)) > _LUNG_SHARE
        return LUNG if is_lung else SOFT_TISSUE
    if image.unit == "g/mL":
        return SUV
    sample = _values(image, voxels[_coarse((0, 0, 0), voxels.shape)])
    sample = sample[np.isfinite(sample)]
    inside = sample[sample > sample.min()] if sample.size else sample
    if not inside.size:
        return Window("full range", 0.0, 1.0)
    low, high = (float(value) for value in np.percentile(inside, (1.0, 99.5)))
    return Window("percentiles 1 to 99.5", low, high)


def _values(image: Input, voxels: NDArray[Any]) -> NDArray[np.float32]:
    values = voxels.astype(np.float32)
    if isinstance(image, Volume):
        values = values * np.float32(image.slope) + np.float32(image.intercept)
    return np.asarray(values)


def _around_findings(shape: tuple[int, ...], prediction: Prediction) -> tuple[slice, ...]:
    """Return a coarse block around what was found, else around the middle."""
    boxes = [f.index_box for f in prediction.findings if isinstance(f, Detection)]
    if prediction.label_map is not None:
        step = tuple(max(1, n // 64) for n in shape)
        coarse = prediction.label_map[:: step[0], :: step[1], :: step[2]]
        hits = np.argwhere(coarse) * np.asarray(step)
        if len(hits):
            boxes.append((*hits.min(axis=0), *(hits.max(axis=0) + step)))
    if not boxes:
        return _coarse([n // 4 for n in shape], [n - n // 4 for n in shape])
    corners = np.asarray(boxes, float)
    low, high = corners[:, :3].min(axis=0), corners[:, 3:].max(axis=0)
    margin = 0.25 * (high - low) + 1.0
    ends = np.minimum(np.ceil(high + margin), shape)
    return _coarse(np.clip(np.floor(low - margin), 0, ends - 1), ends)


def _coarse(low: Iterable[float], high: Iterable[float]) -> tuple[slice, ...]:
    """Return the block from ``low`` to ``high`` with at most about 48 samples per axis."""
    return tuple(
        slice(int(a), int(b), max(1, (int(b) - int(a)) // _SAMPLE))
        for a, b in zip(low, high, strict=True)
    )
