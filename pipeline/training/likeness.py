"""Images that look alike, for sets that do not say who their images are of.

Neighbouring slices of one patient, or the same picture stored twice, must not be on two sides of a
split. So what looks alike is taken for one patient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

#: correlation of two descriptions from which on they are taken for one patient. Of the brain
#: slices of Bhuvaji et al. (2020), copies lie above 0.98 and the slices beside them above 0.97;
#: below, chains of unlike images begin
ALIKE: Final = 0.97
_SIDE: Final = 16
_BLOCK: Final = 2048


def describe(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return what two images are compared by: means of 16 x 16 fields, centred, of length 1.

    Args:
        pixels: (frames, rows, columns) or (frames, rows, columns, 3); the middle frame counts.

    """
    frame = np.asarray(pixels[len(pixels) // 2], np.float32)
    grey = frame.mean(axis=-1) if frame.ndim == 3 else frame
    fields = Picture.fromarray(grey).resize((_SIDE, _SIDE), Picture.Resampling.BOX)
    flat = np.asarray(fields, np.float32).ravel()
    centred: NDArray[np.float32] = flat - flat.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 0 else centred


def groups(descriptions: Iterable[NDArray[np.float32]], alike: float = ALIKE) -> list[int]:
    """Return for each image the number of the first one of its group.

    Who looks like somebody in a group belongs to it, also where others in it look different.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    stacked = np.stack(list(descriptions))
    count = len(stacked)
    pairs = []
    for start in range(0, count, _BLOCK):
        found = np.argwhere(stacked[start : start + _BLOCK] @ stacked.T > alike)
        pairs.append(found + np.array([start, 0]))
    first, second = np.concatenate(pairs).T
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, group = connected_components(links, directed=False)
    _, leaders = np.unique(group, return_index=True)
    return [int(number) for number in leaders[group]]
