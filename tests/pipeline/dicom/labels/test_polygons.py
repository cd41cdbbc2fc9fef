"""Polygons to pixels: centres decide, edges are shared fairly, holes are holes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.dicom.labels import polygons
from tests.pipeline.dicom.labels.made_labels import box, circle

SHAPE = (24, 30)


def crossings(polygon: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cast a ray from every pixel centre, edge by edge: (inside, told apart from the boundary)."""
    inside, clear = np.zeros(SHAPE, np.bool_), np.ones(SHAPE, np.bool_)
    columns = np.arange(SHAPE[1])
    for row in range(SHAPE[0]):
        for (r0, c0), (r1, c1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if (r0 <= row) != (r1 <= row):
                crossing = c0 + (row - r0) / (r1 - r0) * (c1 - c0)
                inside[row] ^= crossing <= columns
                clear[row] &= np.abs(crossing - columns) > 1e-6
    return inside, clear


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-5, 29, width=32), st.floats(-5, 35, width=32)),
        min_size=3,
        max_size=12,
    )
)
def test_any_polygon_is_what_a_ray_from_each_pixel_says(corners: list[tuple[float, float]]) -> None:
    polygon = np.array(corners, np.float64)
    inside, clear = crossings(polygon)
    assert np.array_equal(polygons.fill([polygon], SHAPE)[clear], inside[clear])


def test_a_rectangle_holds_the_centres_inside_of_it() -> None:
    filled = polygons.fill([box((3.5, 4.5), (7.5, 9.5))], SHAPE)
    expected = np.zeros(SHAPE, np.bool_)
    expected[4:8, 5:10] = True
    assert np.array_equal(filled, expected)


def test_centres_on_the_boundary_belong_to_one_of_two_neighbours() -> None:
    """Inside on the side of the lower row and column, outside on the other."""
    filled = polygons.fill([box((3.0, 4.0), (7.0, 9.0))], SHAPE)
    expected = np.zeros(SHAPE, np.bool_)
    expected[3:7, 4:9] = True
    assert np.array_equal(filled, expected)


def test_triangles_that_share_edges_leave_no_pixel_out_and_share_none() -> None:
    rng = np.random.default_rng(0)
    corners = np.array([(0, 0), (0, 29), (23, 29), (23, 0)], float)
    for middle in [np.array([11.0, 14.0]), *rng.uniform(2, 20, (20, 2))]:
        parts = [
            polygons.fill([np.array([corners[i], corners[(i + 1) % 4], middle])], SHAPE)
            for i in range(4)
        ]
        assert np.array_equal(np.sum(parts, axis=0), np.pad(np.ones((23, 29)), ((0, 1), (0, 1))))


@pytest.mark.parametrize("turn", [1, -1])
def test_the_direction_of_drawing_does_not_matter(turn: int) -> None:
    shape = circle((11.3, 14.2), 8.7)
    hole = circle((11.3, 14.2), 3.3)
    expected = polygons.fill([shape], SHAPE) & ~polygons.fill([hole], SHAPE)
    assert np.array_equal(polygons.fill([shape, hole[::turn]], SHAPE), expected)


def test_a_keyhole_is_the_hole_that_an_inner_contour_is() -> None:
    """Out along a slanted channel and back along the same one: it must not leave a scratch."""
    shape, hole = circle((11.3, 14.2), 8.7), circle((11.3, 14.2), 3.3)
    for direction in (1, -1):
        inner = np.roll(hole, 77, axis=0)[::direction]
        keyhole = np.concatenate([shape, shape[:1], inner, inner[:1]])
        assert np.array_equal(polygons.fill([keyhole], SHAPE), polygons.fill([shape, hole], SHAPE))


def test_an_island_in_a_hole_is_inside_again() -> None:
    rings = [box((2, 2), (20, 20)), box((5, 5), (17, 17)), box((8, 8), (14, 14))]
    assert polygons.fill(rings, SHAPE).sum() == 18**2 - 12**2 + 6**2


def test_what_lies_outside_is_cut_off_at_the_edge() -> None:
    assert polygons.fill([box((-9, -9), (90, 90))], SHAPE).all()
    assert not polygons.fill([box((-9, -9), (-2, 90))], SHAPE).any()
    assert polygons.fill([box((-9, 20), (90, 90))], SHAPE).sum() == 24 * 10


def test_a_window_holds_what_the_whole_grid_does() -> None:
    for centre in ((11.3, 14.2), (0.0, 29.0), (23.4, -1.0), (60.0, 60.0)):
        shape = circle(centre, 6.1)
        (row, column), mask = polygons.fill_window([shape], SHAPE)
        whole = np.zeros(SHAPE, np.bool_)
        whole[row : row + mask.shape[0], column : column + mask.shape[1]] = mask
        assert np.array_equal(whole, polygons.fill([shape], SHAPE))


def test_overlap_in_part_is_told_from_a_hole() -> None:
    big, inner, beside = box((2, 2), (20, 20)), box((5, 5), (9, 9)), box((15, 15), (23, 23))
    assert not polygons.do_overlap_in_part([big, inner], SHAPE)
    assert polygons.do_overlap_in_part([big, beside], SHAPE)
    assert not polygons.do_overlap_in_part([inner, beside], SHAPE)


def test_an_ellipse_has_the_area_that_its_axes_give() -> None:
    drawn = polygons.ellipse(np.zeros(2), np.array([3.0, 4.0]), np.array([-1.6, 1.2]))
    x, y = drawn.T
    area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    assert area == pytest.approx(np.pi * 5.0 * 2.0, rel=1e-9)
