"""What an image shows, whatever it is kept in: a digest of its values alone."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.volume import Channels, Input, Volume


def digests(image: Input | Channels) -> tuple[str, ...]:
    """Return the sha256 of the values of each series or image.

    The same for a copy under other UIDs, in another compression or another format, and for a
    volume whose axes are stored in another order or direction; not for a resampled one.
    """
    if isinstance(image, Channels):
        return tuple(digest for volume in image.volumes for digest in digests(volume))
    values = _in_patient(image) if isinstance(image, Volume) else _uncoloured(image.pixels)
    flat = np.ascontiguousarray(values, np.float32)
    hashed = hashlib.sha256(repr(flat.shape).encode())
    hashed.update(flat.data)
    return (hashed.hexdigest(),)


def _in_patient(volume: Volume) -> NDArray[np.float32]:
    """Return the values with the axes that run along x, y and z, each towards larger numbers."""
    steps = volume.affine[:3, :3]
    along = np.abs(steps).argmax(axis=0)
    if len(set(along.tolist())) < 3:  # as oblique as can be: left as it is stored
        return volume.values()
    falling = tuple(axis for axis in range(3) if steps[along[axis], axis] < 0)
    turned: NDArray[np.float32] = np.flip(volume.values(), falling).transpose(np.argsort(along))
    return turned


def _uncoloured(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return grey pixels as such, also where they are stored in three equal colours."""
    is_grey = pixels.ndim == 4 and (pixels[..., :1] == pixels).all()
    return pixels[..., 0] if is_grey else pixels
