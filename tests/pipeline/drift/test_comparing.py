"""Windows of one distribution do not drift more often than stated; changed ones do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.drift import comparing
from pipeline.drift.comparing import compare, holm, psi
from pipeline.drift.observing import Observation

SCANNERS = ("Acme One", "Acme Two", "Other")


def window(
    seed: int, count: int, *, shift: float = 0.0, shares: Sequence[float] = (0.6, 0.3, 0.1)
) -> list[Observation]:
    """Jobs with three numbers, of which the first is shifted, and two words."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 3)) + np.array([shift, 0.0, 0.0])
    scanners = rng.choice(SCANNERS, size=count, p=list(shares))
    answers = rng.choice(["dark", "bright"], size=count)
    return [
        Observation(
            numbers={"intensity.mean": a, "intensity.sd": b, "output.score": c},
            words={"tag.model_name": str(scanner), "output.answer": str(answer)},
        )
        for (a, b, c), scanner, answer in zip(numbers.tolist(), scanners, answers, strict=True)
    ]


def drifted(reference: list[Observation], current: list[Observation]) -> set[str]:
    found = compare(reference, current)
    return {one.name for one in found.comparisons if one.drifted}


def test_a_look_at_what_did_not_change_cries_wolf_no_more_often_than_stated() -> None:
    looks, alpha = 120, 0.05
    ps = [
        min(one.adjusted_p for one in compare(window(2 * n, 60), window(2 * n + 1, 60)).comparisons)
        for n in range(looks)
    ]
    alarms = sum(p < alpha for p in ps)
    # no more than the rate allows: one-sided binomial test, and not so few that nothing is tested
    assert stats.binomtest(alarms, looks, alpha, alternative="greater").pvalue > 0.01
    assert alarms > 0


def test_a_changed_scanner_is_found_and_nothing_else_is_blamed() -> None:
    changed = window(2, 100, shares=(0.1, 0.3, 0.6))
    assert drifted(window(1, 200), changed) == {"tag.model_name"}


def test_a_scanner_that_was_never_seen_is_found() -> None:
    current = [replace(one, words={**one.words, "tag.model_name": "New"}) for one in window(2, 50)]
    assert "tag.model_name" in drifted(window(1, 200), current)


def test_a_shift_of_intensities_is_found_and_nothing_else_is_blamed() -> None:
    assert drifted(window(1, 200), window(2, 200, shift=1.0)) == {"intensity.mean"}


def test_a_small_difference_in_large_windows_is_significant_but_no_drift() -> None:
    found = compare(window(1, 8000), window(2, 8000, shift=0.1))
    (mean,) = (one for one in found.comparisons if one.name == "intensity.mean")
    assert mean.adjusted_p < 1e-3
    assert not found.drifted


def test_too_few_observations_are_not_compared() -> None:
    few = window(1, comparing.LEAST_COUNT - 1, shift=100.0)
    found = compare(window(1, 200), few)
    assert (found.comparisons, found.drifted) == ((), False)
    assert len(found.too_few) == 5


def test_a_number_that_few_jobs_have_is_left_out_alone() -> None:
    current = [Observation(words=one.words) for one in window(2, 60)]
    found = compare(window(1, 60), current)
    assert set(found.too_few) == {"intensity.mean", "intensity.sd", "output.score"}
    assert {one.name for one in found.comparisons} == {"tag.model_name", "output.answer"}


def test_a_word_that_jobs_no_longer_have_is_a_change() -> None:
    current = [Observation(numbers=one.numbers) for one in window(2, 60)]
    assert "output.answer" in drifted(window(1, 60), current)


def test_a_value_that_never_varies_and_stays_is_no_drift() -> None:
    still = [Observation(numbers={"tag.rows": 512.0}, words={"tag.kernel": "B"})] * 50
    found = compare(still, still)
    assert not found.drifted
    moved = [Observation(numbers={"tag.rows": 256.0}, words={"tag.kernel": "B"})] * 50
    assert drifted(still, moved) == {"tag.rows"}


def test_a_number_that_is_one_of_few_is_compared_as_a_word() -> None:
    both = [Observation(numbers={"tag.slice_thickness_mm": mm}) for mm in (1.0, 5.0)] * 50
    moved = [Observation(numbers={"tag.slice_thickness_mm": mm}) for mm in (1.0, 3.0)] * 50
    assert drifted(both, moved) == {"tag.slice_thickness_mm"}
    assert drifted(both, both) == set()


def test_shares_are_of_the_same_bins_and_sum_to_one() -> None:
    for one in compare(window(1, 60), window(2, 60)).comparisons:
        assert len(one.bins) == len(one.reference) == len(one.current)
        assert math.isclose(sum(one.reference), 1.0, abs_tol=1e-4)
        assert math.isclose(sum(one.current), 1.0, abs_tol=1e-4)


def test_holm_multiplies_the_smallest_by_all_and_the_next_by_one_less() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_makes_a_value_smaller_nor_larger_than_bonferroni(ps: list[float]) -> None:
    for p, adjusted in zip(ps, holm(ps), strict=True):
        assert p <= adjusted <= min(1.0, p * len(ps)) or math.isclose(p, adjusted)


def test_the_stability_index_by_hand() -> None:
    # shares 0.8 / 0.2 against 0.2 / 0.8: 2 (0.6 ln 4), with half a count beside each
    expected = 2 * (79.5 - 20.5) / 101 * math.log(80.5 / 20.5)
    assert psi([80, 20], [20, 80]) == pytest.approx(2 * 60 / 101 * math.log(80.5 / 20.5))
    assert expected < psi([80, 20], [20, 80])
    assert psi([5, 5], [5, 5]) == 0.0
