"""An image that a model computed beside what it was computed from: half of each in one tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from pipeline.overlay.slices import slice_count
from pipeline.results import DerivedImage
from pipeline.volume import Input, Volume

_WHITE = (255, 255, 255)


def covers(derived: DerivedImage, image: Input) -> bool:
    """Say whether both show the same part of the patient, to half a voxel of the image."""
    if not isinstance(image, Volume):
        return True
    if derived.affine is None:
        return False
    shapes = (derived.values.shape, image.stored.shape)
    edges = [np.array([[-0.5] * 3, np.array(shape[:3]) - 0.5]) for shape in shapes]
    ends = [
        corner @ affine[:3, :3].T + affine[:3, 3]
        for corner, affine in zip(edges, (derived.affine, image.affine), strict=True)
    ]
    return bool(np.abs(ends[0] - ends[1]).max() <= 0.5 * min(image.spacing))


def plane_of(derived: DerivedImage, image: Input, index: int) -> NDArray[Any]:
    """Return the plane that lies nearest to slice ``index`` of the image."""
    count, of = len(derived.values), slice_count(image)
    nearest = round((index + 0.5) * count / of - 0.5)
    return np.asarray(derived.values[min(max(nearest, 0), count - 1)])


def joined(before: Pictures.Image, after: Pictures.Image) -> Pictures.Image:
    """Return a tile whose right half is of ``after``, with a line between the two."""
    width, height = before.size
    tile, middle = before.copy(), width // 2
    tile.paste(after.crop((middle, 0, width, height)), (middle, 0))
    tile.paste(_WHITE, (middle, 0, middle + 1, height))
    return tile


def legend(derived: DerivedImage) -> list[dict[str, Any]]:
    """Say which half is which."""
    return [
        {"label": label, "color": _WHITE, "kind": "segment"}
        for label in ("left: as it was", f"right: {derived.name}")
    ]
