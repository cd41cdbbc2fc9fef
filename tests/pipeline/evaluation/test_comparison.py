"""A candidate against the version in use: what holds whatever the scores, and what is decided."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import comparison, scores
from pipeline.evaluation.comparison import Decision, Question
from pipeline.evaluation.scores import Overlap, Scores, ScoresRefused
from tests.pipeline.evaluation import made_scores

ACCURACY = Question(statistic="accuracy", least_patients=1)
#: truth, score of the candidate and of the active version, patient
Case = tuple[int, float, float, int]
CASES = st.lists(
    st.tuples(
        st.integers(0, 1), st.floats(0, 1, width=16), st.floats(0, 1, width=16), st.integers(0, 5)
    ),
    min_size=1,
    max_size=15,
)
STATISTICS = st.sampled_from(
    [("accuracy", None), ("brier", None), ("recall", "b"), ("auc", "b"), ("f1", "a")]
)
few = settings(max_examples=40, deadline=None)


def versions(cases: list[Case]) -> tuple[Scores, Scores]:
    truth, new, old, patients = (list(column) for column in zip(*cases, strict=True))
    return (
        made_scores.binary(truth, new, patients=patients),
        made_scores.binary(truth, old, patients=patients),
    )


def question(statistic: tuple[str, str | None], margin: float = 0.0) -> Question:
    name, label = statistic
    return Question(statistic=name, label=label, margin=margin, least_patients=1)


@few
@given(CASES, STATISTICS, st.floats(0, 0.2))
def test_the_same_scores_twice_are_never_better_nor_worse(
    cases: list[Case], statistic: tuple[str, str | None], margin: float
) -> None:
    candidate, _ = versions(cases)
    found = comparison.compare(candidate, candidate, question(statistic, margin))
    assert found.decision in (Decision.NOT_WORSE, Decision.CANNOT_DECIDE)
    assert found.gain in (0.0, None)


@few
@given(CASES, STATISTICS)
def test_turned_round_the_gain_has_the_other_sign(
    cases: list[Case], statistic: tuple[str, str | None]
) -> None:
    candidate, active = versions(cases)
    there = comparison.compare(candidate, active, question(statistic))
    back = comparison.compare(active, candidate, question(statistic))
    assert (there.candidate, there.active) == (back.active, back.candidate)
    if there.gain is not None:
        assert back.gain == -there.gain
    if there.interval is not None and back.interval is not None:
        assert there.interval.low == pytest.approx(-back.interval.high)
    assert there.decision != Decision.BETTER or back.decision == Decision.WORSE


@few
@given(CASES, STATISTICS, st.randoms(use_true_random=False))
def test_the_order_of_the_cases_changes_nothing(
    cases: list[Case], statistic: tuple[str, str | None], random: Random
) -> None:
    candidate, active = versions(cases)
    order = list(range(len(cases)))
    random.shuffle(order)
    asked = question(statistic)
    assert comparison.compare(candidate.of_cases(order), active, asked) == comparison.compare(
        candidate, active, asked
    )


@few
@given(CASES, STATISTICS, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_wider_margin_never_makes_a_candidate_worse(
    cases: list[Case], statistic: tuple[str, str | None], margin: float, more: float
) -> None:
    candidate, active = versions(cases)
    narrow = comparison.compare(candidate, active, question(statistic, margin)).decision
    wide = comparison.compare(candidate, active, question(statistic, margin + more)).decision
    rank = [Decision.WORSE, Decision.CANNOT_DECIDE, Decision.NOT_WORSE, Decision.BETTER]
    assert rank.index(wide) >= rank.index(narrow)


def pair(right: float, wrong_too: float, count: int = 60) -> tuple[Scores, Scores]:
    """Return a version that is right in a share of all cases, and one that errs more often."""
    truth = [0, 1] * (count // 2)

    def answering(share: float) -> Scores:
        right = round(share * count)
        said = truth[:right] + [1 - number for number in truth[right:]]
        return made_scores.binary(truth, [0.05 + 0.9 * number for number in said])

    return answering(right), answering(wrong_too)


def test_a_version_that_errs_less_is_better_and_the_other_is_worse() -> None:
    good, bad = pair(0.9, 0.6)
    found = comparison.compare(good, bad, ACCURACY)
    assert found.gain == pytest.approx(0.3)
    assert found.interval is not None
    assert 0.15 < found.interval.low < 0.3 < found.interval.high < 0.45
    assert found.decision == Decision.BETTER
    assert comparison.compare(bad, good, ACCURACY).decision == Decision.WORSE


def test_a_gain_that_is_too_small_to_count_is_not_worse() -> None:
    good, bad = pair(0.9, 0.6)
    asked = Question(statistic="accuracy", least_gain=0.4, least_patients=1)
    assert comparison.compare(good, bad, asked).decision == Decision.NOT_WORSE


def test_a_loss_within_the_margin_is_not_worse() -> None:
    good, bad = pair(0.9, 0.85)
    asked = Question(statistic="accuracy", margin=0.15, least_patients=1)
    assert comparison.compare(bad, good, asked).decision == Decision.NOT_WORSE
    tight = Question(statistic="accuracy", margin=0.02, least_patients=1)
    assert comparison.compare(bad, good, tight).decision == Decision.CANNOT_DECIDE


def test_below_the_floor_nothing_is_decided() -> None:
    good, bad = pair(0.9, 0.4, count=20)
    asked = Question(statistic="accuracy", least_patients=21)
    found = comparison.compare(good, bad, asked)
    assert (found.patients, found.decision) == (20, Decision.CANNOT_DECIDE)
    # the floor is of patients that bear on it: half of them have the label
    asked = Question(statistic="recall", label="b", least_patients=11)
    found = comparison.compare(good, bad, asked)
    assert (found.patients, found.decision) == (10, Decision.CANNOT_DECIDE)


def test_what_should_be_low_is_better_when_it_is_lower() -> None:
    good, bad = pair(0.9, 0.5)
    asked = Question(statistic="brier", least_patients=1)
    found = comparison.compare(good, bad, asked)
    assert found.candidate is not None
    assert found.active is not None
    assert found.candidate < found.active
    assert found.decision == Decision.BETTER


def test_it_comes_out_the_same_from_scores_as_they_were_kept() -> None:
    good, bad = pair(0.9, 0.6)
    kept = [scores.parse(one.dump()) for one in (good, bad)]
    assert comparison.compare(kept[0], kept[1], ACCURACY) == comparison.compare(good, bad, ACCURACY)


def test_other_cases_are_no_ground_to_compare_on() -> None:
    good, bad = pair(0.9, 0.6)
    with pytest.raises(ScoresRefused, match="same cases"):
        comparison.compare(good.of_cases([0, 1]), bad, ACCURACY)


def test_versions_are_not_compared_by_what_says_nothing_alone() -> None:
    missed = Overlap(true_size=1.0, found_size=0.0, unit="ml", dice=0.0, surface_dice=0.0)
    of = made_scores.scores("segmentation", ["lung"], [{"overlaps": (missed,)}])
    for name in ("hd95_mm", "volume_error", "no such thing"):
        with pytest.raises(ScoresRefused, match=name):
            comparison.compare(of, of, Question(statistic=name, label="lung"))


def test_of_several_trainings_the_mean_is_compared_by_the_same_resamples_of_patients() -> None:
    truth = [0, 1] * 30
    rights = [(0.9, 0.8), (0.7, 0.8), (0.95, 0.7)]
    pairs = [comparison.pair(*pair(new, old)) for new, old in rights]
    found = comparison.compare_means(pairs, ACCURACY)
    assert found.candidate == pytest.approx(sum(new for new, _ in rights) / 3)
    assert found.active == pytest.approx(sum(old for _, old in rights) / 3)
    assert found.gain == pytest.approx(0.25 / 3)
    # a resample of the patients gives each case its mean gain over the trainings, so often as drawn
    of_case = [
        sum((n < round(new * 60)) - (n < round(old * 60)) for new, old in rights) / 3
        for n in range(len(truth))
    ]
    gains = pairs[0].weights @ np.array(of_case) / 60
    low, high = np.percentile(gains, [2.5, 97.5])
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (pytest.approx(low), pytest.approx(high))
    assert found.decision == Decision.BETTER


def test_one_training_that_gained_does_not_speak_for_those_that_lost() -> None:
    won, lost = (comparison.pair(*pair(new, old)) for new, old in [(0.9, 0.8), (0.5, 0.8)])
    assert comparison.compare_means([won], ACCURACY).decision == Decision.BETTER
    assert comparison.compare_means([won, lost], ACCURACY).decision == Decision.WORSE


def test_trainings_are_not_averaged_over_other_cases() -> None:
    good, bad = pair(0.9, 0.6)
    whole, part = (
        comparison.pair(*(side.of_cases(cases) for side in (good, bad)))
        for cases in (list(range(60)), list(range(59)))
    )
    with pytest.raises(ScoresRefused, match="same cases"):
        comparison.compare_means([whole, part], ACCURACY)


def test_margins_are_not_below_zero() -> None:
    with pytest.raises(ValueError, match="margin"):
        Question(statistic="accuracy", margin=-0.1)
