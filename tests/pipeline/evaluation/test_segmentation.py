"""Statistics of a segmentation: what is averaged, and what stands apart."""

from __future__ import annotations

import pytest

from pipeline.evaluation import segmentation
from pipeline.evaluation.scores import Overlap, Scores
from pipeline.evaluation.statistic import value_of
from tests.pipeline.evaluation import made_scores

GOOD = Overlap(true_size=2.0, found_size=3.0, unit="ml", dice=0.8, surface_dice=0.9, hd95_mm=4.0)
SMALL = Overlap(true_size=4.0, found_size=3.0, unit="ml", dice=0.6, surface_dice=0.7, hd95_mm=2.0)
MISSED = Overlap(true_size=1.0, found_size=0.0, unit="ml", dice=0.0, surface_dice=0.0)
ALARM = Overlap(true_size=0.0, found_size=5.0, unit="ml")
QUIET = Overlap(true_size=0.0, found_size=0.0, unit="ml")


def made(*overlaps: Overlap) -> Scores:
    return made_scores.scores("segmentation", ["lung"], [{"overlaps": (one,)} for one in overlaps])


def stated(*overlaps: Overlap) -> dict[str, float | None]:
    return {one.name: value_of(one) for one in segmentation.statistics(made(*overlaps))}


def test_means_are_over_cases_that_have_the_label() -> None:
    found = stated(GOOD, SMALL, MISSED, ALARM, QUIET)
    assert found["dice"] == pytest.approx((0.8 + 0.6 + 0) / 3)
    assert found["surface_dice"] == pytest.approx((0.9 + 0.7 + 0) / 3)
    assert found["volume_error"] == pytest.approx((0.5 - 0.25 - 1) / 3)
    assert found["absolute_volume_error"] == pytest.approx((0.5 + 0.25 + 1) / 3)


def test_a_missed_label_has_no_distance_and_is_counted() -> None:
    found = stated(GOOD, SMALL, MISSED, ALARM)
    assert found["hd95_mm"] == pytest.approx(3.0)
    assert found["missed"] == pytest.approx(1 / 3)


def test_empty_references_stand_apart_with_their_false_alarms() -> None:
    found = stated(GOOD, ALARM, QUIET)
    assert found["false_alarms"] == pytest.approx(1 / 2)
    assert found["false_alarm_ml"] == pytest.approx(5 / 2)
    assert "false_alarm_pixels" not in found


def test_sizes_of_volumes_and_of_images_are_not_added_up() -> None:
    pixels = Overlap(true_size=0.0, found_size=700.0, unit="pixels")
    found = stated(ALARM, pixels)
    assert (found["false_alarm_ml"], found["false_alarm_pixels"]) == (5.0, 700.0)


def test_without_a_reference_nothing_but_false_alarms_has_a_value() -> None:
    found = stated(QUIET)
    assert {name for name, value in found.items() if value is not None} == {
        "false_alarms",
        "false_alarm_ml",
    }
