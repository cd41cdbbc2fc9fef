"""Objects are matched by their masks, and their statistics are those worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation import matching, objects, segmentation, summary
from pipeline.evaluation.scores import Boxes, Overlap
from pipeline.evaluation.statistic import value_of
from tests.pipeline.evaluation import made_scores

OVERLAP = Overlap(true_size=10, found_size=10, unit="pixels", dice=1.0)
#: of two: one found by 0.8, one missed, one alarm; then of one by 0.55
CASES = [
    Boxes(truths=2, scores=(0.9, 0.7), overlaps=((0.8, 0.0), (0.0, 0.1))),
    Boxes(truths=1, scores=(0.8,), overlaps=((0.55,),)),
]


def test_masks_overlap_by_their_voxels() -> None:
    truths, found = np.zeros((1, 6, 8), int), np.zeros((1, 6, 8), int)
    truths[0, :4, :4] = 1  # 16 voxels
    truths[0, 4:, 4:] = 2  # 8
    found[0, :4, 2:6] = 1  # 8 of its 16 on the first
    found[0, 4:, 4:] = 2  # the second, exactly
    found[0, 0, 7] = 3
    compared = matching.compare_objects(found, np.array([0.5, 0.9, 0.1]), truths)
    assert compared.truths == 2
    assert compared.scores == (0.9, 0.5, 0.1)
    assert compared.overlaps == (
        (0.0, 1.0),
        (pytest.approx(8 / 24), 0.0),
        (0.0, 0.0),
    )


def test_nothing_found_and_nothing_true_are_cases() -> None:
    nothing = np.zeros((1, 4, 4), int)
    one = nothing + 1
    assert matching.compare_objects(nothing, np.zeros(0), one) == Boxes(truths=1)
    alarm = matching.compare_objects(one, np.array([0.5]), nothing)
    assert alarm == Boxes(truths=0, scores=(0.5,), overlaps=((),))
    assert objects.share_found(alarm, [0.5]) == 0.0
    assert objects.share_found(Boxes(truths=0), [0.5]) is None


def test_statistics_of_objects_by_hand() -> None:
    cases = [{"overlaps": (OVERLAP,), "objects": (one,)} for one in CASES]
    scores = made_scores.scores("segmentation", ["cell"], cases)
    found = {one.name: value_of(one) for one in segmentation.statistics(scores) if one.label}
    # hits first, then the alarm: precision 1 at the 67 recalls up to 2/3
    assert found["object_ap_50"] == pytest.approx(67 / 101)
    # the first counts up to 0.8 (7 of 10), the second up to 0.55 (2 of 10): beyond that it is an
    # alarm before nothing, and beyond 0.8 nothing is found
    assert found["object_ap_50_95"] == pytest.approx((2 * 67 + 5 * 34) / 101 / 10)
    # 1 of (2 true + 2 found - 1), and 1 of 1
    assert found["objects_found_50"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["objects_found_50_95"] == pytest.approx((0.7 / 3 + 0.2) / 2)


def test_a_segmentation_that_tells_no_objects_apart_has_no_statistics_of_them() -> None:
    scores = made_scores.scores("segmentation", ["cell"], [{"overlaps": (OVERLAP,)}] * 2)
    assert not any("object" in name for name in summary.summarise(scores)["labels"]["cell"])
