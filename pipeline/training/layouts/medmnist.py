"""MedMNIST's arrays: images and classes of the three parts in one .npz file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from pipeline.training.layouts.line import LayoutRefused, Line

_PARTS: Final[Mapping[str, str]] = {"train": "train", "val": "validation", "test": "test"}


def arrays(folder: Path, out: Path) -> Sequence[Line]:
    """One .npz file with ``train_images``, ``train_labels`` and so on; each image becomes a PNG.

    Classes are called by their numbers, several of one image joined by ``|``. Of images that are
    the same to the pixel the first one is taken. A set without one of its parts states no split.
    """
    files = sorted(folder.glob("*.npz"))
    if len(files) != 1:
        raise LayoutRefused(f"there are {len(files)} .npz files, not exactly one")
    try:
        with np.load(files[0], allow_pickle=False) as kept:
            held = {
                part: (kept[f"{name}_images"], kept[f"{name}_labels"])
                for name, part in _PARTS.items()
                if f"{name}_images" in kept
            }
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise LayoutRefused("it does not hold arrays of images and labels") from error
    lines: list[Line] = []
    known: set[bytes] = set()
    place = out / "images"
    place.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in held.items():
        for pixels, label in zip(_pictures(images), labels, strict=True):
            digest = hashlib.sha256(pixels.tobytes()).digest()
            if digest in known:
                continue
            known.add(digest)
            image = place / f"{len(known):06d}.png"
            Picture.fromarray(pixels).save(image)
            split = part if len(held) == len(_PARTS) else ""
            lines.append(Line(image=image, label=_classes(label), split=split))
    return lines


def _pictures(images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8 or not (images.ndim == 3 or images.shape[3:] == (3,)):
        raise LayoutRefused("the images are not (rows, columns) or (rows, columns, 3) of uint8")
    return images


def _classes(label: NDArray[Any]) -> str:
    """Return the class of an image, or all that are 1 of several."""
    stated = np.atleast_1d(label)
    if len(stated) == 1:
        return str(int(stated[0]))
    return "|".join(str(number) for number in np.flatnonzero(stated)) or "-"
