"""Masks against masks whose overlaps and distances are known, and against MONAI's metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.evaluation import overlap
from pipeline.evaluation.overlap import Grid
from pipeline.volume import Image, Volume

GRID = Grid(spacing=(3.0, 1.0, 2.0), size=0.006, unit="ml")


def block(*ends: tuple[int, int], shape: tuple[int, ...] = (16, 20, 24)) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*pair) for pair in ends)] = True
    return mask


#: 6 x 8 x 10 voxels
BOX = block((4, 10), (5, 13), (6, 16))


def test_a_mask_is_like_itself() -> None:
    found = overlap.compare(BOX, BOX, GRID, 1.0)
    assert found.true_size == found.found_size == pytest.approx(480 * 0.006)
    assert (found.dice, found.surface_dice, found.hd95_mm) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(("axis", "distance"), [(0, 6.0), (1, 2.0), (2, 4.0)])
def test_a_thin_plate_moved_by_two_voxels_is_as_far_off_as_they_are_long(
    axis: int, distance: float
) -> None:
    plate = np.zeros((16, 16, 16), bool)
    plate[tuple(slice(7, 8) if one == axis else slice(2, 14) for one in range(3))] = True
    moved = np.roll(plate, 2, axis)
    found = overlap.compare(plate, moved, GRID, distance)
    assert found.dice == 0.0
    assert found.hd95_mm == pytest.approx(distance)
    assert found.surface_dice == 1.0
    assert overlap.compare(plate, moved, GRID, distance - 0.01).surface_dice == 0.0


def test_a_box_that_is_too_long_has_the_surface_dice_of_its_end() -> None:
    # flat, one voxel thick, 4 x 10 pixels: all of it is edge. Two columns more, 1 mm each
    grid = Grid(spacing=(1.0, 1.0), size=1.0, unit="pixels")
    short, long = (np.zeros((1, 12, 20), bool) for _ in range(2))
    short[0, 5:6, 4:14] = long[0, 5:6, 4:16] = True
    found = overlap.compare(short, long, grid, 1.0)
    assert found.surface_dice == pytest.approx((10 + 11) / (10 + 12))
    assert found.dice == pytest.approx(2 * 10 / 22)
    # distances from the long one: 10 x 0, then 1 and 2: the 95th percentile lies between them
    assert found.hd95_mm == pytest.approx(np.percentile([0] * 10 + [1, 2], 95))


def edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & ~ndimage.binary_erosion(mask)


def test_distances_are_those_of_scipys_distance_transform() -> None:
    other = block((5, 12), (5, 12), (8, 17))
    first, second = edge(BOX), edge(other)
    ways = [
        ndimage.distance_transform_edt(~one, sampling=GRID.spacing)[another]
        for one, another in ((first, second), (second, first))
    ]
    found = overlap.compare(BOX, other, GRID, 2.0)
    assert found.hd95_mm == pytest.approx(max(np.percentile(way, 95) for way in ways), rel=1e-5)
    within = sum(np.count_nonzero(way <= 2.0) for way in ways)
    assert found.surface_dice == pytest.approx(within / sum(len(way) for way in ways))


def test_dice_is_monais() -> None:
    from monai.metrics.meandice import compute_dice

    other = block((5, 12), (5, 12), (8, 17))
    first, second = (torch.from_numpy(one)[None, None].float() for one in (BOX, other))
    assert overlap.dice(BOX, other) == pytest.approx(float(compute_dice(second, first)))


def test_what_was_missed_has_no_distance_but_counts_as_no_surface() -> None:
    found = overlap.compare(BOX, np.zeros_like(BOX), GRID, 1.0)
    assert (found.dice, found.surface_dice, found.hd95_mm) == (0.0, 0.0, None)
    assert found.found_size == 0.0


def test_an_empty_reference_leaves_nothing_but_the_false_alarm() -> None:
    found = overlap.compare(np.zeros_like(BOX), BOX, GRID, 1.0)
    assert found.is_empty
    assert (found.dice, found.surface_dice, found.hd95_mm) == (None, None, None)
    assert found.found_size == pytest.approx(480 * 0.006)


def test_volumes_are_measured_in_mm_and_images_where_they_state_their_pixels() -> None:
    volume = Volume(stored=np.zeros((2, 2, 2), np.int16), affine=np.diag([2.0, 3.0, 4.0, 1.0]))
    assert overlap.grid_of(volume) == Grid(
        spacing=(2.0, 3.0, 4.0), size=pytest.approx(0.024), unit="ml"
    )
    pixels = np.zeros((1, 4, 4), np.float32)
    stated = overlap.grid_of(Image(pixels=pixels, spacing=(0.5, 0.25)))
    assert stated == Grid(spacing=(0.5, 0.25), size=1.0, unit="pixels")
    assert overlap.grid_of(Image(pixels=pixels)).spacing is None
    loop = Image(pixels=np.zeros((3, 4, 4), np.float32), spacing=(0.5, 0.25))
    assert overlap.grid_of(loop).spacing is None


def test_without_the_size_of_pixels_there_is_overlap_but_no_distance() -> None:
    grid = Grid(spacing=None, size=1.0, unit="pixels")
    found = overlap.compare(BOX, BOX, grid, 1.0)
    assert (found.dice, found.surface_dice, found.hd95_mm) == (1.0, None, None)
