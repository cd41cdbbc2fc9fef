"""How near an image comes to a reference: PSNR and SSIM, by MONAI's metrics.

Torch is imported when something is compared: who reads scores alone, as the trainer does, has no
use for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: stands for images without a difference, whose PSNR has no value (dB)
BEST_PSNR = 100.0
#: side of the window of SSIM, as in Wang et al., "Image Quality Assessment: From Error Visibility
#: to Structural Similarity", IEEE TIP 2004
_WINDOW = 11


@dataclass(frozen=True)
class Fidelity:
    """PSNR in dB over all voxels, and SSIM: of planes their mean, of volumes in three axes."""

    psnr: float
    ssim: float


def compare(
    values: NDArray[np.float32], reference: NDArray[np.float32], spatial_dims: int
) -> Fidelity:
    """Compare two images, 0 to 1, both (channels, slices or frames, rows, columns).

    Args:
        values: what is judged.
        reference: what it should be.
        spatial_dims: 2 = structure is looked for within planes, 3 = across them.

    """
    import torch
    from monai.metrics.regression import SSIMMetric

    found, wanted = (_batched(one, spatial_dims) for one in (values, reference))
    side = min(_WINDOW, *wanted.shape[2:])
    measure = SSIMMetric(spatial_dims=spatial_dims, data_range=1.0, win_size=side)
    ssim = float(torch.as_tensor(measure(found, wanted)).mean())
    return Fidelity(psnr=psnr(values, reference), ssim=ssim)


def psnr(values: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the peak signal-to-noise ratio in dB of two images, 0 to 1."""
    import torch
    from monai.metrics.regression import PSNRMetric

    found, wanted = (
        torch.from_numpy(np.ascontiguousarray(one))[None] for one in (values, reference)
    )
    ratio = float(torch.as_tensor(PSNRMetric(max_val=1.0)(found, wanted)).mean())
    return min(ratio, BEST_PSNR)


def _batched(values: NDArray[np.float32], spatial_dims: int) -> Tensor:
    """Return (planes, channels, rows, columns) for two axes, (1, channels, ...) for three."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.transpose(0, 1) if spatial_dims == 2 else tensor[None]
