"""What is handed out is what MONAI's own readers give for a file of it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import LoadImaged

from pipeline.config.refusal import ConfigRefused
from pipeline.models.program import handing
from pipeline.models.program.handing import Handing
from pipeline.volume import Channels, Image
from tests.pipeline.models.program import bundles
from tests.pipeline.models.test_against_monai import affine


def ours(image: Any, **arguments: Any) -> dict[str, Any]:
    (files,) = handing.parts(image)
    desk = Handing(files)
    load = desk.load("image", **arguments)
    loaded: dict[str, Any] = load(desk.data())
    return loaded


def monais(*files: Path, **arguments: Any) -> dict[str, Any]:
    with warnings.catch_warnings(action="ignore"):
        names = [str(file) for file in files]
        loaded: dict[str, Any] = LoadImaged("image", **arguments)({"image": names})
    return loaded


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    image, other = found["image"], expected["image"]
    assert image.dtype == other.dtype
    torch.testing.assert_close(image.as_tensor(), other.as_tensor(), atol=0, rtol=0)
    torch.testing.assert_close(image.affine, other.affine, atol=0, rtol=0)
    for key in ("spatial_shape", "original_affine", "original_channel_dim", "space"):
        if key in other.meta:
            np.testing.assert_array_equal(image.meta[key], other.meta[key])


@pytest.mark.parametrize("arguments", [{}, {"image_only": False}, {"ensure_channel_first": True}])
def test_volumes_are_as_from_a_nifti_file(arguments: dict[str, Any], tmp_path: Path) -> None:
    place = affine((3.0, 1.1, 0.9), degrees=(12, -20, 9))
    volume = bundles.volume((4, 6, 5), place)
    file = bundles.nifti(volume, tmp_path / "image.nii")
    assert_alike(ours(volume, **arguments), monais(file, **arguments))


def test_series_as_channels_are_as_from_a_list_of_files(tmp_path: Path) -> None:
    volumes = tuple(bundles.volume((4, 6, 5), seed=seed) for seed in range(3))
    files = [bundles.nifti(one, tmp_path / f"{n}.nii") for n, one in enumerate(volumes)]
    assert_alike(ours(Channels(volumes=volumes)), monais(*files))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"reverse_indexing": False},
        {"dtype": "uint8"},
        {"converter": lambda x: x.convert("RGB")},
    ],
)
@pytest.mark.parametrize("colours", [(), (3,)], ids=["grey", "colour"])
def test_images_are_as_from_a_png_file(
    colours: tuple[int, ...], arguments: dict[str, Any], tmp_path: Path
) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (7, 9, *colours), dtype=np.uint8)
    file = bundles.png(frame, tmp_path / "image.png")
    pixels = frame[None] if colours else frame[None].astype(np.float32)
    expected = monais(file, **arguments, reader="PILReader")
    assert_alike(ours(Image(pixels=pixels), **arguments), expected)


def test_grey_values_beyond_a_picture_keep_their_fractions() -> None:
    pixels = np.array([[[-3.25, 700.5], [0.0, 1.0]]], np.float32)
    found = ours(Image(pixels=pixels))["image"]
    np.testing.assert_array_equal(found, pixels[0].T)


def test_another_number_of_images_is_refused() -> None:
    volumes = (bundles.volume((4, 6, 5)),) * 2
    (files,) = handing.parts(Channels(volumes=volumes))
    desk = Handing(files)
    desk.load(["early", "late", "later", "label"])
    with pytest.raises(ConfigRefused, match="3 images, not 2"):
        desk.data()
