"""Statistics of a detection against values worked out by hand and against MONAI's COCO metric."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.evaluation import curves, detection, matching, summary
from pipeline.evaluation.scores import Boxes, Scores
from pipeline.evaluation.statistic import value_of
from tests.pipeline.evaluation import made_scores

#: best first: hit, alarm, alarm, hit of 3 boxes
CASES = [
    Boxes(truths=1, scores=(0.9, 0.6), overlaps=((0.5,), (0.0,))),
    Boxes(truths=2, scores=(0.8, 0.5), overlaps=((0.0, 0.0), (0.0, 0.7))),
]


def made(*by_case: Boxes) -> Scores:
    return made_scores.scores("detection", ["nodule"], [{"boxes": (one,)} for one in by_case])


def stated(scores: Scores, label: str | None = "nodule") -> dict[str, float | None]:
    return {one.name: value_of(one) for one in detection.statistics(scores) if one.label == label}


def test_average_precision_by_hand() -> None:
    # precision 1 at the 34 recalls up to 1/3, 1/2 at the 33 up to 2/3, 0 beyond
    expected = (34 * 1 + 33 * 0.5) / 101
    assert detection.average_precision(CASES, 0.1) == pytest.approx(expected)
    found = stated(made(*CASES))
    assert found["average_precision"] == found["ap_50"] == pytest.approx(expected)
    # the first hit is one up to 0.5, the second up to 0.7; then it is the fourth of one hit
    fourth = 34 * 0.25 / 101
    assert found["ap_50_95"] == pytest.approx((expected + 4 * fourth) / 10)
    means = {"map_50": found["ap_50"], "map_50_95": found["ap_50_95"]}
    assert stated(made(*CASES), None) == means


def test_a_mean_over_labels_is_of_those_that_have_boxes() -> None:
    cases = [{"boxes": (one, Boxes(truths=0), one)} for one in CASES]
    found = stated(made_scores.scores("detection", ["a", "b", "c"], cases), None)
    assert found["map_50"] == pytest.approx((34 * 1 + 33 * 0.5) / 101)
    cases = [{"boxes": (one, Boxes(truths=1))} for one in CASES]
    found = stated(made_scores.scores("detection", ["a", "b"], cases), None)
    assert found["map_50"] == pytest.approx((34 * 1 + 33 * 0.5) / 101 / 2)


def test_precision_is_made_monotone() -> None:
    # alarm, hit, hit of 2: precisions 1/2 and 2/3, so 2/3 throughout
    case = Boxes(truths=2, scores=(0.9, 0.8, 0.7), overlaps=((0, 0), (1, 0), (0, 1)))
    assert detection.average_precision([case], 0.5) == pytest.approx(2 / 3)


def test_froc_by_hand() -> None:
    assert detection.froc(CASES, 0.1) == {
        # no alarm in two scans up to 0.25 per scan, one at 0.5, both from 1 on
        "0.125": pytest.approx(1 / 3),
        "0.25": pytest.approx(1 / 3),
        "0.5": pytest.approx(1 / 3),
        "1": pytest.approx(2 / 3),
        "2": pytest.approx(2 / 3),
        "4": pytest.approx(2 / 3),
        "8": pytest.approx(2 / 3),
    }
    assert stated(made(*CASES))["froc_mean"] == pytest.approx((3 * 1 / 3 + 4 * 2 / 3) / 7)
    assert curves.froc(made(*CASES), 0) == [
        (0.0, 0.0),
        (0.0, pytest.approx(1 / 3)),
        (1.0, pytest.approx(1 / 3)),
        (1.0, pytest.approx(2 / 3)),
    ]


def test_sensitivity_and_false_positives_at_the_threshold_of_the_model() -> None:
    found = stated(made(*CASES))
    assert found["sensitivity"] == pytest.approx(2 / 3)
    assert found["false_positives_per_scan"] == pytest.approx(2 / 2)


def test_without_boxes_there_is_no_precision_and_no_sensitivity() -> None:
    alarm = Boxes(truths=0, scores=(0.9,), overlaps=((),))
    assert detection.average_precision([alarm], 0.5) is None
    assert detection.froc([alarm], 0.5) is None
    assert curves.froc(made(alarm), 0) == []
    found = stated(made(alarm))
    assert found.pop("false_positives_per_scan") == 1.0
    assert set(found.values()) == {None}


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    low = random.uniform(0, 10, (count, 3))
    return np.concatenate([low, low + random.uniform(2, 6, (count, 3))], axis=1)


def random_case(
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes that are found, near true ones and anywhere, their scores, and true boxes."""
    truths = random_boxes(random, int(random.integers(1, 5)))
    near = truths + random.normal(0, 0.4, truths.shape)
    found = np.concatenate([near, random_boxes(random, int(random.integers(1, 4)))])
    return found, random.uniform(size=len(found)), truths


@pytest.mark.parametrize("seed", range(4))
def test_average_precisions_are_those_of_monais_coco_metric(seed: int) -> None:
    from monai.apps.detection.metrics.coco import COCOMetric
    from monai.apps.detection.metrics.matching import matching_batch
    from monai.data.box_utils import box_iou

    random = np.random.default_rng(seed)
    cases = [random_case(random) for _ in range(12)]
    metric = COCOMetric(
        classes=["nodule"], iou_list=[0.1, 0.5], iou_range=[0.5, 0.95, 0.05], verbose=False
    )
    results = matching_batch(
        iou_fn=box_iou,
        iou_thresholds=metric.iou_thresholds,
        pred_boxes=[found for found, _, _ in cases],
        pred_classes=[np.zeros(len(found), int) for found, _, _ in cases],
        pred_scores=[scores for _, scores, _ in cases],
        gt_boxes=[truths for _, _, truths in cases],
        gt_classes=[np.zeros(len(truths), int) for _, _, truths in cases],
    )
    expected, _ = metric(results)
    found = stated(made(*(matching.compare(*case) for case in cases)))
    assert 0.2 < expected["AP_IoU_0.50_MaxDet_100"] < 0.99
    # MONAI's recalls are float32, so that one of its 101 may fall to the next step of the curve
    names = {
        "average_precision": "AP_IoU_0.10_MaxDet_100",
        "ap_50": "AP_IoU_0.50_MaxDet_100",
        "ap_50_95": "mAP_IoU_0.50_0.95_0.05_MaxDet_100",
    }
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(expected[theirs], abs=1e-3)


def test_a_case_that_weighs_twice_counts_as_two_cases() -> None:
    random = np.random.default_rng(5)
    cases = [matching.compare(*random_case(random)) for _ in range(6)]
    times = [1, 2, 0, 3, 1, 0]
    many: Sequence[Boxes] = [
        case for case, count in zip(cases, times, strict=True) for _ in range(count)
    ]
    pairs = zip(detection.statistics(made(*cases)), detection.statistics(made(*many)), strict=True)
    for weighed, repeated in pairs:
        assert weighed.of(np.array([times], float))[0] == pytest.approx(value_of(repeated))


def test_a_thousand_resamples_of_hundreds_of_scans_take_seconds() -> None:
    random = np.random.default_rng(6)
    scores = made(*(matching.compare(*random_case(random)) for _ in range(200)))
    start = time.perf_counter()
    found = summary.summarise(scores)
    assert time.perf_counter() - start < 20.0
    assert found["map_50_95"]["low"] < found["map_50_95"]["value"] < found["map_50_95"]["high"]
