"""A small convolutional trunk: from an image to features on coarser and coarser grids.

Normalised over groups of channels (Wu and He, "Group Normalization", ECCV 2018), so that no image
of a batch bears on another, in training as in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai.networks.blocks.convolutions import Convolution
from torch import nn

DEFAULT_FEATURES = (16, 32, 64, 128)
#: the most groups that are normalised apart; few, so that a group has values to speak of
_GROUPS = 4


def convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    activated: bool = True,
) -> nn.Module:
    """Return a convolution of three voxels a side, normalised and, unless told not to, rectified.

    It maps (N, in_channels, *spatial) to (N, out_channels, *coarser), each axis divided by
    ``stride`` and rounded up, so that no axis is ever too short for it.
    """
    groups = math.gcd(_GROUPS, out_channels)
    made: nn.Module = Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        strides=stride,
        act="RELU" if activated else None,
        norm=("GROUP", {"num_groups": groups}),
    )
    return made


def trunk(spatial_dims: int, in_channels: int, features: Sequence[int]) -> nn.Sequential:
    """Return one halving convolution for each of ``features``, the finest first.

    Raises:
        ValueError: no features.

    """
    if not features:
        raise ValueError("features needs a width at least")
    widths = [in_channels, *features]
    return nn.Sequential(
        *(
            convolution(spatial_dims, before, after, stride=2)
            for before, after in zip(widths, features, strict=False)
        )
    )
