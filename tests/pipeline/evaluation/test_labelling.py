"""Cases with any number of labels: numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.evaluation import curves, page, summary
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.comparison import Question, compare
from pipeline.evaluation.scores import CaseScores, Labelled, Scores
from pipeline.evaluation.scores import parse as parse_scores


def scores(*cases: tuple[list[bool], list[float]]) -> Scores:
    return Scores(
        kind="multi-label",
        labels=("nodule", "effusion"),
        surface_tolerance_mm=2.0,
        hit_iou=0.1,
        least_patients=1,
        cases=tuple(
            CaseScores(
                case=f"{number:064x}",
                image=f"{number:064x}",
                patient=f"{number:064x}",
                labelled=Labelled(truth=tuple(truth), scores=tuple(given)),
            )
            for number, (truth, given) in enumerate(cases)
        ),
    )


FOUR = scores(
    ([True, False], [0.9, 0.2]),
    ([True, True], [0.4, 0.7]),
    ([False, False], [0.6, 0.1]),
    ([False, True], [0.1, 0.8]),
)


def test_each_label_is_counted_by_itself() -> None:
    found = summary.summarise(FOUR)
    nodule, effusion = (found["labels"][name] for name in ("nodule", "effusion"))
    assert nodule["recall"]["value"] == 0.5
    assert nodule["precision"]["value"] == 0.5
    assert nodule["specificity"]["value"] == 0.5
    # of the four pairs three are in the right order
    assert nodule["auc"]["value"] == 0.75
    assert effusion["auc"]["value"] == 1.0
    assert effusion["f1"]["value"] == 1.0


def test_all_labels_together_are_the_mean_area_and_the_share_that_is_right_throughout() -> None:
    found = summary.summarise(FOUR)
    assert found["mean_auc"]["value"] == 0.875
    assert found["exact_match"]["value"] == 0.5
    squares = [0.01, 0.04, 0.36, 0.09, 0.36, 0.01, 0.01, 0.04]
    assert found["brier"]["value"] == pytest.approx(sum(squares) / 8)


def test_a_label_that_no_case_has_leaves_the_mean_to_the_others() -> None:
    found = summary.summarise(scores(([True, False], [0.9, 0.2]), ([False, False], [0.1, 0.3])))
    assert found["labels"]["effusion"]["auc"]["value"] is None
    assert found["mean_auc"]["value"] == 1.0


def test_its_curves_and_its_page_are_those_of_its_labels() -> None:
    assert curves.roc(FOUR, 1) == [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    heading = page.Heading(title="Chest", lines=[], warnings=[])
    shown = page.render(heading, FOUR, summary.summarise(FOUR))
    assert "ROC of nodule" in shown
    assert "mean AUC" in shown


def test_the_worst_case_is_the_one_whose_labels_were_said_worst() -> None:
    assert [place for place, _ in summary.worst(FOUR)] == [1, 2, 0, 3]


def test_a_version_is_compared_with_itself_as_with_any_other() -> None:
    found = compare(FOUR, FOUR, Question(statistic="mean_auc", least_patients=2))
    assert found.gain == 0.0
    assert found.interval == Interval(low=0.0, high=0.0)


def test_what_is_kept_comes_back() -> None:
    assert parse_scores(FOUR.dump()) == FOUR


@pytest.mark.parametrize("truth", [[True], [True, False, True]])
def test_every_label_is_judged(truth: list[Any]) -> None:
    with pytest.raises(ValueError, match="judged by"):
        scores((truth, [0.5, 0.5]))
