"""Transforms that bundles bring as code; here they are ours, by the same names."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform


class ConcatImages(MapTransform, InvertibleTransform):
    """Several images become the channels of one.

    MONAI's bundle for renal structures names it ``scripts.my_transforms.ConcatImages``.

    Args:
        keys_merge: where the images (channels, *spatial) are, all of one shape.
        keys_out: where the joined one goes.

    """

    def __init__(self, keys_merge: Sequence[str], keys_out: str) -> None:
        super().__init__(keys_merge)
        self._joined = keys_out

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the joined image."""
        return {**data, self._joined: torch.cat([data[key] for key in self.keys])}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data as it is: the images were left where they were."""
        return dict(data)


class MergeClassesd(MapTransform):
    """Masks that may overlap become one label map: of several channels the first one counts.

    MONAI's bundle for renal structures names it ``scripts.my_transforms.MergeClassesd``. Channel 0
    is background.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return (1, *spatial) for each (channels, *spatial) of zeros and ones."""
        merged = dict(data)
        for key in self.key_iterator(merged):
            masks = merged[key]
            label_map = torch.zeros_like(masks[:1])
            for number in range(1, len(masks)):
                is_free = (label_map == 0) & (masks[number : number + 1] != 0)
                label_map[is_free] = number
            merged[key] = label_map
        return merged
