from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.series.assembly import Stack, stack
from pipeline.dicom.series.kinds import check_kind
from pipeline.dicom.series.rescaling import rescale
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason
from tests.pipeline.dicom.series import made_frames as made

TILT = math.radians(20)


def _stack(headers: list[InstanceHeader], **policies: Any) -> Stack:
    return stack(made.frames(headers), policies=Policies(**policies))


def _refusal(headers: list[InstanceHeader], **policies: Any) -> Reason:
    with pytest.raises(StudyRejected) as refused:
        _stack(headers, **policies)
    return refused.value.reason


def _at(*depths: float, **facts: Any) -> list[InstanceHeader]:
    return [made.header(n, position=(0.0, 0.0, z), **facts) for n, z in enumerate(depths)]


def _tilted(count: int = 6, angle: float = TILT) -> list[InstanceHeader]:
    turned = (1.0, 0.0, 0.0, 0.0, math.cos(angle), -math.sin(angle))
    return made.headers(count, orientation=turned)


def test_a_sound_series_is_put_in_order_by_its_positions_alone() -> None:
    headers = made.headers(5)
    mixed = [headers[i] for i in (3, 0, 4, 1, 2)]
    found = _stack(mixed)
    assert found.order == (1, 3, 4, 0, 2)
    assert found.spacing == pytest.approx((5.0, 2.0, 0.5))
    assert found.shape == (5, 6, 8)
    assert found.regridding is None
    assert not found.warnings


@pytest.mark.parametrize(
    ("orientation", "normal"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 1)),
        ((-1, 0, 0, 0, 1, 0), (0, 0, -1)),
        ((0, 1, 0, 0, 0, -1), (-1, 0, 0)),
        ((1, 0, 0, 0, 0, -1), (0, 1, 0)),
        ((0, -1, 0, 1, 0, 0), (0, 0, 1)),
        ((0.6, 0.8, 0, 0, 0, -1), (-0.8, 0.6, 0)),
    ],
)
def test_every_way_a_slice_can_lie_gives_its_affine(
    orientation: tuple[float, ...], normal: tuple[float, ...]
) -> None:
    step = 3.0 * np.asarray(normal)
    headers = [
        made.header(
            n, orientation=orientation, position=tuple(np.array([1.0, 2.0, 3.0]) + n * step)
        )
        for n in (2, 0, 3, 1)
    ]
    affine = _stack(headers).affine
    np.testing.assert_allclose(affine[:3, 0], step, atol=1e-12)
    np.testing.assert_allclose(affine[:3, 1], 2.0 * np.array(orientation[3:]), atol=1e-12)
    np.testing.assert_allclose(affine[:3, 2], 0.5 * np.array(orientation[:3]), atol=1e-12)
    np.testing.assert_allclose(affine[:3, 3], [1, 2, 3], atol=1e-12)


def test_thickness_and_spacing_between_slices_are_no_spacing() -> None:
    headers = made.headers(4, slice_thickness=2.5, spacing_between_slices=2.5)
    found = _stack(headers)
    assert found.spacing[0] == pytest.approx(5.0)
    assert found.warnings == (
        "SpacingBetweenSlices contradicts the positions of the slices, which count",
    )
    assert not _stack(made.headers(4, spacing_between_slices=-5.0)).warnings


def test_an_animal_on_four_legs_keeps_its_geometry_and_is_named() -> None:
    found = _stack(made.headers(4, is_quadruped=True))
    np.testing.assert_array_equal(found.affine, _stack(made.headers(4)).affine)
    assert any("four legs" in warning for warning in found.warnings)


def test_jitter_is_tolerated_and_four_percent_is_not() -> None:
    random = np.random.default_rng(1)
    headers = [
        made.header(
            number,
            orientation=tuple(np.array(made.AXIAL) + random.uniform(-1e-7, 1e-7, 6)),
            position=(10.0, 20.0, 30.0 + 5.0 * number + random.uniform(-0.005, 0.005)),
        )
        for number in range(20)
    ]
    assert _stack(headers).spacing[0] == pytest.approx(5.0, abs=1e-3)
    assert _refusal(_at(0, 5, 10.2, 15, 20)) is Reason.SERIES_GEOMETRY_INVALID
    loose = _stack(_at(0, 5, 10.2, 15, 20), spacing_tolerance=0.05)
    assert loose.spacing[0] == pytest.approx(5.0)


def test_an_error_that_adds_up_is_refused() -> None:
    # each step is within 1 percent of the usual one, but the middle lies 0.6 mm off
    steps = [5.0] * 51 + [5.049] * 50
    assert _refusal(_at(*np.cumsum(steps))) is Reason.SERIES_GEOMETRY_INVALID


@pytest.mark.parametrize(
    "facts",
    [
        {"orientation": None},
        {"orientation": (0.0,) * 6},
        {"orientation": (2.0, 0, 0, 0, 2.0, 0)},
        {"orientation": (1.0, 0, 0, 0.6, 0.8, 0)},
        {"orientation": (math.nan,) * 6},
        {"position": None},
        {"position": (0.0, math.nan, 0.0)},
        {"position": (0.0, 0.0, 1e9)},
        {"pixel_spacing": None},
        {"pixel_spacing": (0.0, 0.0)},
        {"pixel_spacing": (-1.0, 1.0)},
        {"pixel_spacing": (math.nan, math.nan)},
        {"pixel_spacing": (2.0, 0.6)},
        {"rows": 7},
    ],
    ids=str,
)
def test_a_slice_whose_place_is_broken_refuses_the_stack(facts: dict[str, Any]) -> None:
    headers = [*made.headers(4), made.header(4, **facts)]
    assert _refusal(headers) is Reason.SERIES_GEOMETRY_INVALID


def test_slices_that_are_not_parallel_are_refused() -> None:
    headers = [*made.headers(4), made.header(4, orientation=(0.0, 1.0, 0, 0, 0, -1.0))]
    assert _refusal(headers) is Reason.SERIES_MIXED_ORIENTATION


def test_slices_shifted_sideways_at_random_are_refused_under_every_policy() -> None:
    headers = [made.header(n, position=(7.0 * (n % 2), 0, 5.0 * n)) for n in range(5)]
    assert _refusal(headers) is Reason.SERIES_GEOMETRY_INVALID
    assert _refusal(headers, gantry_tilt="resample") is Reason.SERIES_GEOMETRY_INVALID


def test_as_many_slices_are_needed_as_the_policy_says() -> None:
    assert _refusal(made.headers(2)) is Reason.SERIES_TOO_FEW_SLICES
    assert _refusal(made.headers(9), minimum_slices=10) is Reason.SERIES_TOO_FEW_SLICES
    assert _stack(made.headers(10), minimum_slices=10).shape[0] == 10


class TestMissing:
    def test_a_gap_is_refused(self) -> None:
        assert _refusal(_at(0, 5, 15, 20, 25)) is Reason.SERIES_MISSING_SLICE

    def test_the_longest_run_is_kept_where_the_policy_says_so(self) -> None:
        found = _stack(_at(0, 5, 15, 20, 25, 30), missing_slice="longest_run")
        assert found.order == (2, 3, 4, 5)
        assert found.affine[2, 3] == 15
        assert found.regridding is None
        assert found.warnings == ("slices are missing: only 4 of 6 are used",)

    def test_a_run_that_is_too_short_is_refused(self) -> None:
        reason = _refusal(_at(0, 5, 15, 20, 30, 35), missing_slice="longest_run")
        assert reason is Reason.SERIES_TOO_FEW_SLICES

    def test_few_gaps_are_filled_where_the_policy_says_so(self) -> None:
        depths = [5.0 * n for n in range(20) if n not in (4, 5, 11)]
        found = _stack(_at(*depths), missing_slice="resample")
        assert found.shape == (20, 6, 8)
        assert found.spacing[0] == pytest.approx(5.0)
        assert found.regridding is not None
        assert found.regridding.slices == tuple(n for n in range(20) if n not in (4, 5, 11))
        assert set(found.regridding.shifts) == {(0.0, 0.0)}
        assert found.warnings == ("missing slices were filled by linear interpolation: 3 of 20",)

    @pytest.mark.parametrize(
        "missing",
        [(4, 5, 6), (2, 5, 8, 11, 14)],
        ids=["three in a row", "five of twenty"],
    )
    def test_too_many_are_not_made_up(self, missing: tuple[int, ...]) -> None:
        depths = [5.0 * n for n in range(20) if n not in missing]
        assert _refusal(_at(*depths), missing_slice="resample") is Reason.SERIES_MISSING_SLICE

    def test_a_gap_that_is_no_whole_number_of_steps_is_not_filled(self) -> None:
        depths = [5.0 * n + (2.0 if n > 9 else 0) for n in range(20) if n != 10]
        reason = _refusal(_at(*depths), missing_slice="resample")
        assert reason is Reason.SERIES_GEOMETRY_INVALID


class TestDuplicates:
    def test_two_slices_at_one_position_are_refused(self) -> None:
        assert _refusal(_at(0, 5, 10, 10, 15)) is Reason.SERIES_DUPLICATE_POSITION

    def test_the_one_with_the_least_number_is_kept_where_the_policy_says_so(self) -> None:
        headers = [
            *made.headers(4),
            made.header(8, position=made.header(2).position, instance_number=1),
            made.header(9, position=made.header(3).position, instance_number=None),
        ]
        found = _stack(headers, duplicate_position="first")
        assert found.order == (0, 1, 4, 3)
        assert found.shape == (4, 6, 8)
        assert found.warnings == ("slices at the position of another one were left out: 2",)

    def test_of_equal_numbers_the_least_uid_is_kept(self) -> None:
        twin = made.header(29, position=made.header(1).position, instance_number=2)
        found = _stack([twin, *made.headers(4)], duplicate_position="first")
        assert found.order == (1, 2, 3, 4)

    def test_slices_of_different_phase_are_no_duplicates(self) -> None:
        headers = [*made.headers(4), made.header(8, position=made.header(2).position)]
        headers[4] = made.header(
            8, position=made.header(2).position, phases=(("AcquisitionNumber", "2"),)
        )
        reason = _refusal(headers, duplicate_position="first")
        assert reason is Reason.SERIES_DUPLICATE_POSITION

    def test_slices_side_by_side_are_no_duplicates(self) -> None:
        headers = [*made.headers(4), made.header(8, position=(50.0, 20.0, 40.0))]
        reason = _refusal(headers, duplicate_position="first")
        assert reason is Reason.SERIES_DUPLICATE_POSITION


class TestTilt:
    def test_a_tilted_gantry_is_refused_by_its_angle(self) -> None:
        with pytest.raises(StudyRejected, match=r"sheared by 20\.0 degrees") as refused:
            _stack(_tilted())
        assert refused.value.reason is Reason.SERIES_GANTRY_TILT

    def test_the_true_perpendicular_step_is_found(self) -> None:
        found = _stack(_tilted(), gantry_tilt="resample")
        assert found.spacing == pytest.approx((5.0 * math.cos(TILT), 2.0, 0.5))
        np.testing.assert_allclose(
            np.cross(found.affine[:3, 2], found.affine[:3, 1]) / 1.0,
            found.affine[:3, 0] / (5.0 * math.cos(TILT)),
            atol=1e-12,
        )

    def test_rows_are_added_so_that_nothing_is_cut(self) -> None:
        found = _stack(_tilted(6), gantry_tilt="resample")
        # each of the 5 steps moves a slice by 5 sin 20 = 1.710 mm along its columns of 2 mm
        moved = 5 * 5.0 * math.sin(TILT) / 2.0
        assert found.shape == (6, 6 + math.ceil(moved), 8)
        assert found.regridding is not None
        shifts = [down for down, _ in found.regridding.shifts]
        top = math.ceil(moved)
        expected = [top - moved * n / 5 for n in range(6)]
        np.testing.assert_allclose(shifts, expected, atol=1e-5)

    @pytest.mark.parametrize("index", [(0, 0, 0), (3, 5, 7), (5, 2, 1)])
    def test_pixels_of_the_source_keep_their_place_in_the_patient(
        self, index: tuple[int, int, int]
    ) -> None:
        headers = _tilted(6)
        found = _stack(headers, gantry_tilt="resample")
        assert found.regridding is not None
        number, row, column = index
        down, right = found.regridding.shifts[number]
        on_grid = np.array([found.regridding.slices[number], row + down, column + right, 1.0])
        position, turned = np.array(headers[number].position), headers[number].orientation
        assert turned is not None
        place = position + row * 2.0 * np.array(turned[3:]) + column * 0.5 * np.array(turned[:3])
        np.testing.assert_allclose((found.affine @ on_grid)[:3], place, atol=1e-5)

    def test_more_than_a_gantry_can_is_refused(self) -> None:
        reason = _refusal(_tilted(angle=math.radians(50)), gantry_tilt="resample")
        assert reason is Reason.SERIES_GEOMETRY_INVALID

    def test_a_tilted_series_with_a_gap_needs_both_policies(self) -> None:
        headers = _tilted(10)
        del headers[4]
        assert _refusal(headers, gantry_tilt="resample") is Reason.SERIES_MISSING_SLICE
        assert _refusal(headers, missing_slice="resample") is Reason.SERIES_GANTRY_TILT
        found = _stack(headers, gantry_tilt="resample", missing_slice="resample")
        assert found.shape[0] == 10
        assert len(found.warnings) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e12, 0.0, 1e-30])
def test_a_slope_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(StudyRejected) as refused:
        rescale(made.frames([*made.headers(3), made.header(3, slope=value)]))
    assert refused.value.reason is Reason.PIXELS_RESCALE_NOT_FINITE


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC")}, Reason.SERIES_MOSAIC),
        ({"image_type": ("ORIGINAL", "PRIMARY", "VFRAME")}, Reason.SERIES_MOSAIC),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, Reason.SERIES_LOCALIZER),
        ({"image_type": ("DERIVED", "PRIMARY", "SCOUT_PA")}, Reason.SERIES_LOCALIZER),
        ({"is_ge_localizer": True}, Reason.SERIES_LOCALIZER),
        ({"is_concatenated": True}, Reason.SERIES_UNSUPPORTED),
        ({"high_bit": 14}, Reason.PIXELS_UNSUPPORTED),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(facts: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(StudyRejected) as refused:
        check_kind(made.frames([made.header(0, **facts)])[0])
    assert refused.value.reason is reason
