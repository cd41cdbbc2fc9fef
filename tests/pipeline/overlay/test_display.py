from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.overlay.display import display_of
from pipeline.volume import Image, Volume


def axis_orders() -> list[NDArray[np.float64]]:
    """Return the 24 ways to lay slices, rows and columns along the patient's axes."""
    found = []
    for rows, columns in itertools.permutations(range(3), 2):
        for sign_r, sign_c in itertools.product((1.0, -1.0), repeat=2):
            row_step, column_step = np.zeros(3), np.zeros(3)
            row_step[rows], column_step[columns] = sign_r, sign_c
            found.append(np.stack([np.cross(column_step, row_step), row_step, column_step], axis=1))
    return found


def volume_with(axes: NDArray[np.float64]) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([4.0, 2.0, 3.0])
    return Volume(stored=np.zeros((6, 8, 10), np.int16), affine=affine)


@pytest.mark.parametrize("axes", axis_orders())
def test_the_screen_follows_the_radiological_convention(axes: NDArray[np.float64]) -> None:
    volume = volume_with(axes)
    display = display_of(volume)
    index = np.stack(np.meshgrid(*map(np.arange, (6, 8, 10)), indexing="ij"), axis=-1)
    places = volume.to_patient(index.astype(float))
    shown = display.slice_of(places[2])
    right, down = shown[0, 1] - shown[0, 0], shown[1, 0] - shown[0, 0]
    scroll = places[display.order(6)[1], 0, 0] - places[display.order(6)[0], 0, 0]
    expected = {
        "axial": ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
        "coronal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
        "sagittal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    }[display.plane]
    for step, direction in zip((right, down, scroll), expected, strict=True):
        assert np.allclose(step / np.linalg.norm(step), direction)
    assert display.pixel == pytest.approx((np.linalg.norm(down), np.linalg.norm(right)))


def test_letters_name_the_edges() -> None:
    axial = volume_with(np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float))
    assert display_of(axial).edges == ("R", "L", "A", "P")


@pytest.mark.parametrize("axes", axis_orders())
def test_a_box_lands_on_the_pixels_it_holds(axes: NDArray[np.float64]) -> None:
    display = display_of(volume_with(axes))
    plane = np.zeros((8, 10))
    plane[1:3, 4:9] = 1
    shown = display.slice_of(plane)
    left, top, right, bottom = display.box((1, 3), (4, 9), (8, 10))
    height, width = shown.shape
    part = shown[round(top * height) : round(bottom * height)]
    part = part[:, round(left * width) : round(right * width)]
    assert part.size == 10
    assert part.all()


def test_an_image_is_shown_as_it_is() -> None:
    pixels = np.arange(12.0).reshape(1, 3, 4)
    display = display_of(Image(pixels=pixels, spacing=(2.0, 1.0)))
    assert np.array_equal(display.slice_of(pixels[0]), pixels[0])
    assert display.edges == ("", "", "", "")
    assert display.pixel == (2.0, 1.0)
