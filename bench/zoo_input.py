"""A small made input that fits what a bundle states, and the same as files for MONAI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from numpy.typing import NDArray
from PIL import Image as Picture

from pipeline.models.program.handing import ras_affine
from pipeline.models.spec import InputSpec
from pipeline.volume import Channels, Image, Volume

#: (slices, rows, columns), and mm between them; a third of the windows that the zoo has
_SHAPE: Final = (20, 44, 40)
#: for a network that sees the whole at once: whole after every halving
_WHOLE: Final = (32, 48, 48)
_STEPS: Final = (3.0, 1.4, 1.2)
#: (rows, columns) of an image
_PICTURE: Final = (240, 280)


@dataclass(frozen=True, kw_only=True)
class Made:
    """One input."""

    image: Volume | Channels | Image
    files: tuple[Path, ...]


def make(spec: InputSpec, folder: Path, *, takes_volume: bool, sees_whole: bool) -> Made:
    """Make an input in memory, and as NIfTI or PNG files in a folder."""
    if takes_volume:
        shape = _WHOLE if sees_whole else _SHAPE
        volumes = tuple(_volume(number, shape, spec) for number in range(spec.channels))
        files = tuple(_nifti(one, folder / f"{n}.nii.gz") for n, one in enumerate(volumes))
        image = volumes[0] if len(volumes) == 1 else Channels(volumes=volumes)
        return Made(image=image, files=files)
    channels = 1 if spec.channels == 1 else 3
    pixels = _field((channels, *_PICTURE), seed=1)
    pixels = np.clip(pixels * 60 + 128, 0, 255).astype(np.uint8)
    path = folder / "image.png"
    Picture.fromarray(pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1)).save(path)
    if channels == 1:
        return Made(image=Image(pixels=pixels.astype(np.float32)), files=(path,))
    return Made(image=Image(pixels=np.moveaxis(pixels, 0, -1)[None]), files=(path,))


def _volume(number: int, shape: tuple[int, ...], spec: InputSpec) -> Volume:
    is_ct = "CT" in spec.modalities
    field = _field((1, *shape), seed=number)[0]
    stored = field * 300 - 50 if is_ct else np.maximum(field * 200 + 400, 0)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = _STEPS
    affine[:, 3] = (-20.0, -30.0, 100.0, 1.0)
    # as a NIfTI file keeps it
    affine = affine.astype(np.float32).astype(np.float64)
    return Volume(stored=stored.astype(np.int16), affine=affine, unit="HU" if is_ct else "")


def _field(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Return smooth noise (channels, *spatial), about -3 to 3."""
    generator = torch.Generator().manual_seed(seed)
    channels, *spatial = shape
    coarse = torch.randn(1, channels, *([6] * len(spatial)), generator=generator)
    mode = "trilinear" if len(spatial) == 3 else "bilinear"
    smooth: NDArray[np.float32] = F.interpolate(coarse, tuple(spatial), mode=mode)[0].numpy()
    return smooth


def _nifti(volume: Volume, path: Path) -> Path:
    library: Any = nib.nifti1
    image = library.Nifti1Image(volume.values().transpose(2, 1, 0), ras_affine(volume))
    library.save(image, path)
    return path
