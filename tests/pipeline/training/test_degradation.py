"""Images made worse: noise as strong as stated, joined voxels where they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.training import degradation, recipe
from pipeline.training.fields import DegradationField
from pipeline.training.recipe import Recipe
from pipeline.volume import Image, Volume
from tests import quick_training

GREY = np.full((1, 4, 96, 96), 0.5, np.float32)
SINGLE = (1, 1, 1)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def finer(**changes: Any) -> Recipe:
    """Return a recipe that makes two pixels of each axis of a plane one, and nothing else."""
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "features": [4]}
    document = quick_training.RESTORATION | {
        "network": {"name": "SubpixelNet", "arguments": arguments},
        "degradation": {"downsample": 2},
        "options": {"scale": 2},
    }
    return recipe.check(document | changes)


@pytest.mark.parametrize(
    ("wanted", "deviation"),
    [
        (DegradationField(noise=(0.05, 0.05)), 0.05),
        (DegradationField(photons=(1000.0, 1000.0)), (0.5 / 1000) ** 0.5),
        (DegradationField(photons=(500.0, 500.0), noise=(0.04, 0.04)), (0.001 + 0.0016) ** 0.5),
    ],
    ids=["electronics", "photons", "both"],
)
def test_noise_is_as_strong_as_stated(wanted: DegradationField, deviation: float) -> None:
    worse = degradation.degrade(GREY, wanted, SINGLE, generator())
    assert worse.dtype == np.float32
    assert worse.mean() == pytest.approx(0.5, abs=0.002)
    assert worse.std() == pytest.approx(deviation, rel=0.03)


def test_strength_and_noise_are_decided_by_the_generator_alone() -> None:
    wanted = DegradationField(photons=(100.0, 900.0), noise=(0.01, 0.2))
    first, again = (degradation.degrade(GREY, wanted, SINGLE, generator()) for _ in range(2))
    assert np.array_equal(first, again)
    spread = [degradation.degrade(GREY, wanted, SINGLE, generator(n)).std() for n in range(8)]
    assert max(spread) > 1.5 * min(spread)


def test_values_stay_between_black_and_white() -> None:
    worse = degradation.degrade(
        np.repeat(np.float32([0, 1]), 32).reshape(1, 1, 8, 8),
        DegradationField(noise=(0.5, 0.5)),
        SINGLE,
        generator(),
    )
    assert (worse.min(), worse.max()) == (0.0, 1.0)


def test_joined_voxels_are_means_and_the_rest_is_cut_off() -> None:
    values = np.arange(2 * 5 * 4, dtype=np.float32).reshape(1, 2, 5, 4)
    kept = degradation.whole(values, (1, 2, 2))
    assert kept.shape == (1, 2, 4, 4)
    means = degradation.means(kept, (1, 2, 2))
    assert means[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_one_bright_voxel_is_stretched_into_the_kernel_of_cubic_interpolation(axis: int) -> None:
    values = np.zeros((1, 7, 7, 7), np.float32)
    values[0, 3, 3, 3] = 1.0
    joined = [2 if other == axis else 1 for other in (1, 2, 3)]
    line = np.moveaxis(degradation.stretch(values, joined), axis, 3)[0, 3, 3]
    near = np.array([0.75, 0.25])
    far = near + 1.0
    kernel = [
        *(-0.75 * (far**3 - 5 * far**2 + 8 * far - 4)),
        *(1.25 * near**3 - 2.25 * near**2 + 1),
    ]
    assert line == pytest.approx([0, 0, 0, *kernel, *kernel[::-1], 0, 0, 0], abs=1e-6)
    assert degradation.stretch(values, (1, 1, 1)) == pytest.approx(values)


def test_joined_voxels_of_a_volume_lie_where_they_were() -> None:
    """The values are millimetres towards the head, so that each voxel says where it lies."""
    affine = np.array([[0, 0, 0.8, 5], [0, 1.5, 0, -3], [3, 0, 0, 10], [0, 0, 0, 1]], float)
    index = np.moveaxis(np.indices((4, 6, 8), float), 0, -1)
    x, y, z = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    volume = Volume(stored=x + 2 * y + z, affine=affine, unit="HU")
    held = degradation.trial(volume, finer(), generator())
    assert isinstance(held.shown, Volume)
    assert held.shown.unit == "HU"
    assert held.shown.spacing == pytest.approx((3.0, 3.0, 1.6))
    index = np.moveaxis(np.indices(held.shown.stored.shape, float), 0, -1)
    x, y, z = np.moveaxis(held.shown.to_patient(index), -1, 0)
    assert held.shown.values() == pytest.approx(x + 2 * y + z, abs=1e-4)


def test_what_lies_beyond_the_window_is_held_at_its_ends() -> None:
    wanted = recipe.check(quick_training.RESTORATION | {"degradation": {"noise": [1e-9, 1e-9]}})
    volume = Volume(
        stored=np.array([-500, 0, 50, 100, 900], np.int16).reshape(1, 1, 5), affine=np.eye(4)
    )
    held = degradation.trial(volume, wanted, generator())
    assert held.reference.ravel() == pytest.approx([0, 0, 0.5, 1, 1])
    assert isinstance(held.shown, Volume)
    assert held.shown.values().ravel() == pytest.approx([0, 0, 50, 100, 100])
    assert held.scaled(np.full((1, 1, 5), 25.0)).ravel() == pytest.approx([0.25] * 5)


def test_a_picture_in_colours_stays_one() -> None:
    document = quick_training.RESTORATION
    colours = document["network"]["arguments"] | {"in_channels": 3, "out_channels": 3}
    wanted = recipe.check(
        document
        | {
            "network": {"name": "UNet", "arguments": colours},
            "input": document["input"] | {"channels": 3, "window": [0, 255]},
        }
    )
    pixels = generator().integers(50, 200, (1, 24, 32, 3)).astype(np.uint8)
    held = degradation.trial(Image(pixels=pixels), wanted, generator())
    assert isinstance(held.shown, Image)
    assert held.shown.pixels.dtype == np.uint8
    noise = held.shown.pixels.astype(float) - pixels
    assert 0.04 * 255 < noise.std() < 0.11 * 255
    assert held.scaled(pixels) == pytest.approx(held.reference, abs=1e-6)
