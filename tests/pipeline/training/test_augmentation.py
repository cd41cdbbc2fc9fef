"""Random changes of cases: exact where the answer is known, and decided by the generator alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.training import augmentation
from pipeline.training.augmentation import Warp
from pipeline.training.fields import AugmentationField

TURN = np.array([[0.0, -1.0], [1.0, 0.0]])
NOWHERE = np.zeros(2)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(size: tuple[int, ...], seed: int = 0, **wanted: Any) -> Warp:
    warp = augmentation.warp(size, AugmentationField(**wanted), generator(seed))
    assert warp is not None
    return warp


def discs(size: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    places = np.indices(size) + 0.5
    distance = sum((axis - middle) ** 2 for axis, middle in zip(places, centre, strict=True))
    return np.asarray(distance <= radius**2)


def test_without_augmentation_values_stay_as_they_are() -> None:
    image = np.linspace(0, 1, 27, dtype=np.float32).reshape(3, 3, 3)
    varied = augmentation.vary(image[None], AugmentationField(), generator())
    assert varied.shape == (1, 3, 3, 3)
    assert np.array_equal(varied[0].numpy(), image)
    assert augmentation.warp((3, 3, 3), AugmentationField(flip=0.5), generator()) is None


@pytest.mark.parametrize("name", ["noise", "scale", "shift", "contrast", "blur"])
def test_values_are_decided_by_their_generator_alone(name: str) -> None:
    image = generator().random((1, 8, 8)).astype(np.float32)
    wanted = AugmentationField(**{name: 0.9})
    first, second = (augmentation.vary(image, wanted, generator(3)).numpy() for _ in range(2))
    assert np.array_equal(first, second)
    others = [augmentation.vary(image, wanted, generator(seed)).numpy() for seed in range(4)]
    assert any(not np.array_equal(first, other) for other in others)


def test_values_are_varied_by_the_very_numbers_that_monai_draws_for_that_seed() -> None:
    wanted = AugmentationField(blur=1.0, contrast=0.3, scale=0.2, shift=0.1, noise=0.1)
    image = generator().random((2, 6, 7)).astype(np.float32)
    theirs = augmentation._value_changes.__wrapped__(wanted)
    for seed in range(20):
        ours = augmentation.vary(image, wanted, generator(seed))
        theirs.set_random_state(seed=int(generator(seed).integers(2**32)))
        assert np.array_equal(ours.numpy(), theirs(torch.from_numpy(image.copy())).numpy())


@pytest.mark.parametrize("name", ["rotate", "translate", "zoom", "crop", "elastic"])
@pytest.mark.parametrize("size", [(10, 12), (6, 8, 10)])
def test_places_are_decided_by_their_generator_alone(name: str, size: tuple[int, ...]) -> None:
    image = generator().random((2, *size)).astype(np.float32)
    first, second, other = (drawn(size, seed, **{name: 0.4}).image(image) for seed in (1, 1, 2))
    assert first.shape == image.shape
    assert np.array_equal(first, second)
    assert not np.allclose(first, other)


def test_a_warp_that_moves_nothing_changes_nothing() -> None:
    image = generator().random((3, 7, 5)).astype(np.float32)
    still = Warp(size=(7, 5), matrix=np.eye(2), offset=NOWHERE, bend=np.zeros((2, 4, 4)))
    assert still.image(image) == pytest.approx(image, abs=1e-6)
    labels = generator().integers(0, 40_000, (7, 5)).astype(np.int32)
    assert np.array_equal(still.mask(labels), labels)
    assert still.mask(labels).dtype == np.int32


def test_a_quarter_turn_is_that_of_numpy() -> None:
    image = generator().random((1, 6, 6)).astype(np.float32)
    turned = Warp(size=(6, 6), matrix=TURN, offset=NOWHERE)
    assert turned.image(image)[0] == pytest.approx(np.rot90(image[0], -1), abs=1e-5)
    labels = generator().integers(0, 9, (6, 6))
    assert np.array_equal(turned.mask(labels), np.rot90(labels, -1))


def test_a_volume_is_turned_about_the_axis_that_keeps_its_place() -> None:
    image = generator().random((1, 4, 6, 6)).astype(np.float32)
    matrix = np.eye(3)
    matrix[1:, 1:] = TURN
    turned = Warp(size=(4, 6, 6), matrix=matrix, offset=np.zeros(3)).image(image)
    assert turned[0] == pytest.approx(np.rot90(image[0], -1, axes=(1, 2)), abs=1e-5)


def test_a_move_by_whole_voxels_is_exact_and_what_comes_in_is_zero() -> None:
    image = generator().random((1, 5, 6)).astype(np.float32) + 1
    moved = Warp(size=(5, 6), matrix=np.eye(2), offset=np.array([1.0, -2.0])).image(image)[0]
    assert moved[:-1, 2:] == pytest.approx(image[0, 1:, :-2], abs=1e-5)
    assert moved[-1] == pytest.approx(0, abs=1e-5)
    assert moved[:, :2] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("seed", "size"), [(seed, (64, 48)) for seed in range(6)])
def test_the_box_of_a_disc_goes_where_the_disc_goes(seed: int, size: tuple[int, int]) -> None:
    warp = drawn(size, seed, rotate=40, translate=0.1, zoom=0.3, crop=0.2)
    disc = discs(size, (30.0, 25.0), 8.0)
    found = np.argwhere(warp.mask(disc))
    box = np.array([[22, 17, 38, 33]], np.float32)
    expected = np.concatenate([found.min(0), found.max(0) + 1])
    assert warp.boxes(box)[0] == pytest.approx(expected, abs=1.5)


def test_the_box_of_a_ball_goes_where_the_ball_goes() -> None:
    size = (24, 28, 26)
    warp = drawn(size, 4, rotate=30, translate=0.05, zoom=0.2)
    ball = discs(size, (12.0, 13.0, 14.0), 6.0)
    found = np.argwhere(warp.mask(ball))
    expected = np.concatenate([found.min(0), found.max(0) + 1])
    box = np.array([[6, 7, 8, 18, 19, 20]], np.float32)
    assert warp.boxes(box)[0] == pytest.approx(expected, abs=1.5)


def test_no_box_survives_an_elastic_change() -> None:
    with pytest.raises(ValueError, match="elastic"):
        drawn((16, 16), elastic=1.0).boxes(np.zeros((1, 4), np.float32))


def test_a_crop_shows_a_part_and_nothing_from_beyond() -> None:
    image = np.ones((1, 32, 32), np.float32)
    for seed in range(8):
        shown = drawn((32, 32), seed, crop=0.5).image(image)[0]
        assert shown[1:-1, 1:-1] == pytest.approx(1, abs=1e-5)
        assert shown.min() >= 0.25  # half of what a corner sees may lie beyond, along each axis


def test_zoom_stays_within_what_was_asked_for() -> None:
    factors = [float(drawn((8, 8), seed, zoom=0.25).matrix[0, 0]) for seed in range(40)]
    assert min(factors) >= 1 / 1.25
    assert max(factors) <= 1.25
    assert min(factors) < 0.95
    assert max(factors) > 1.05


def test_a_warp_sees_what_it_reaches_for_around_its_patch() -> None:
    warp = drawn((8, 12), seed=4, rotate=45, translate=0.2, zoom=0.3, elastic=0.5)
    margins = warp.reach
    assert min(margins) > 0
    around = np.ones((1, *(side + 2 * more for side, more in zip((8, 12), margins, strict=True))))
    assert warp.image(around).shape == (1, 8, 12)
    assert warp.image(around).min() == pytest.approx(1.0)  # nothing black comes in
    assert warp.image(np.ones((1, 8, 12))).min() == 0.0
    # the middle stays the middle, however much lies around it
    inner = np.zeros((8, 12))
    inner[3:6, 4:9] = 1.0
    padded = np.pad(inner, [(more, more) for more in margins])
    assert warp.image(padded) == pytest.approx(warp.image(inner), abs=1e-5)


def test_mirror_images_and_quarters_are_all_eight_ways_in_which_a_square_lies() -> None:
    square = np.arange(9).reshape(1, 3, 3)
    wanted, random = AugmentationField(flip=0.5, quarter=0.5), generator()
    found = {augmentation.pose(2, wanted, random).of(square).tobytes() for _ in range(200)}
    turned = [np.rot90(square, quarters, (1, 2)) for quarters in range(4)]
    expected = [*turned, *(np.flip(one, 2) for one in turned)]
    assert found == {one.tobytes() for one in expected}


def test_without_quarters_the_axes_stay_and_nothing_else_is_drawn() -> None:
    one, other = generator(), generator()
    poses = [augmentation.pose(2, AugmentationField(flip=0.5), one) for _ in range(20)]
    assert not any(pose.is_turned for pose in poses)
    assert [pose.axes for pose in poses] == [
        tuple(axis for axis in (-2, -1) if other.random() < 0.5) for _ in range(20)
    ]


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("axes", [(), (-3,), (-2, -1), (-3, -2, -1)])
def test_boxes_lie_as_their_patch_does(axes: tuple[int, ...], *, is_turned: bool) -> None:
    size = (8, 10, 12)
    image = np.zeros(size)
    image[1:3, 4:9, 5:6] = 1.0
    pose = augmentation.Pose(axes, is_turned)
    (moved,) = pose.boxes(np.array([[1, 4, 5, 3, 9, 6]], np.float32), size).astype(int)
    marked = np.argwhere(pose.of(image))
    assert moved[:3].tolist() == marked.min(axis=0).tolist()
    assert moved[3:].tolist() == (marked.max(axis=0) + 1).tolist()
