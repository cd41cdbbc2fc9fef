"""Two windows of observations held against each other, value by value.

A value has drifted when its distribution differs by a test that is corrected for all the values
that were looked at, and by so much that it matters: large windows make every small difference
significant, small ones make large differences by chance.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from pipeline.drift.observing import Observation

#: of all values together: how often a look at what did not change cries wolf, at the most
ALPHA: Final = 0.01
#: population stability index below which a difference does not matter
LEAST_PSI: Final = 0.2
#: observations in each window, below which a value is not compared
LEAST_COUNT: Final = 30
_BINS: Final = 10
#: chi-square holds where no cell is expected to be emptier (Cochran 1954)
_LEAST_EXPECTED: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one value is distributed in both windows. ``shares`` are by bin or word."""

    name: str
    #: Kolmogorov-Smirnov for numbers, G for words
    test: str
    #: what the test found: the largest distance of the distributions, or G
    statistic: float
    p: float
    #: by Holm's rule, of all values together
    adjusted_p: float
    psi: float
    drifted: bool
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a look found. ``too_few``: values that too few observations have."""

    comparisons: tuple[Comparison, ...]
    too_few: tuple[str, ...]

    @property
    def drifted(self) -> bool:
        """Whether any value has."""
        return any(one.drifted for one in self.comparisons)


@dataclass(frozen=True)
class _Tested:
    """A value before all are corrected together."""

    name: str
    test: str
    statistic: float
    p: float
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    psi: float


def compare(
    reference: Sequence[Observation], current: Sequence[Observation], *, alpha: float = ALPHA
) -> Verdict:
    """Compare every value that both windows have often enough.

    An observation that lacks a word counts as one of its words; one that lacks a number does not
    count for that number.

    Args:
        reference: what was usual.
        current: what is looked at.
        alpha: the chance of a false alarm, for all values together.

    """
    tested, too_few = _tested(reference, current)
    adjusted = holm([one.p for one in tested])
    comparisons = [
        Comparison(**vars(one), adjusted_p=p, drifted=p < alpha and one.psi >= LEAST_PSI)
        for one, p in zip(tested, adjusted, strict=True)
    ]
    comparisons.sort(key=lambda one: (not one.drifted, one.adjusted_p, -one.psi, one.name))
    return Verdict(comparisons=tuple(comparisons), too_few=tuple(too_few))


def _tested(
    reference: Sequence[Observation], current: Sequence[Observation]
) -> tuple[list[_Tested], list[str]]:
    """Test every value; name those of which there are too few."""
    tested: list[_Tested] = []
    too_few: list[str] = []
    for name in _names(reference, current, "numbers"):
        first, second = (_numbers(window, name) for window in (reference, current))
        if min(len(first), len(second)) < LEAST_COUNT:
            too_few.append(name)
        else:
            tested.append(_compare_numbers(name, first, second))
    if min(len(reference), len(current)) < LEAST_COUNT:
        return tested, [*too_few, *_names(reference, current, "words")]
    for name in _names(reference, current, "words"):
        words = ([one.words.get(name, "") for one in window] for window in (reference, current))
        tested.append(_compare_words(name, *words))
    return tested, too_few


def holm(ps: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number by Holm's step-down rule (Holm 1979)."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted, largest = [1.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def psi(reference: Sequence[int], current: Sequence[int]) -> float:
    """Return the population stability index of two histograms over the same bins.

    The sum of (q - p) ln(q / p), half a count added to each bin so that an empty one is finite.
    """
    first, second = (np.asarray(counts, np.float64) + 0.5 for counts in (reference, current))
    first, second = first / first.sum(), second / second.sum()
    return float(np.sum((second - first) * np.log(second / first)))


def _compare_numbers(name: str, first: Sequence[float], second: Sequence[float]) -> _Tested:
    if len(set(first)) <= _BINS:  # sizes, counts: each number is a word of its own
        return _compare_words(name, *([f"{value:g}" for value in each] for each in (first, second)))
    found = stats.ks_2samp(first, second, method="asymp")
    deciles = np.quantile(first, np.linspace(0, 1, _BINS + 1))
    edges = np.unique([np.nextafter(deciles[0], -np.inf), *deciles[1:]])
    counts = [
        np.bincount(np.searchsorted(edges, window, side="left"), minlength=len(edges) + 1)
        for window in (first, second)
    ]
    ends = ["", *(f"{edge:.4g}" for edge in edges), ""]
    return _Tested(
        name=name,
        test="KS",
        statistic=float(found.statistic),
        p=float(found.pvalue),
        bins=tuple(f"{low}..{high}" for low, high in itertools.pairwise(ends)),
        reference=_shares(counts[0].tolist()),
        current=_shares(counts[1].tolist()),
        psi=psi(counts[0].tolist(), counts[1].tolist()),
    )


def _compare_words(name: str, first: Sequence[str], second: Sequence[str]) -> _Tested:
    bins, counts = _pooled(Counter(first), Counter(second))
    statistic, p = 0.0, 1.0
    if len(bins) > 1:
        found = stats.chi2_contingency(counts, correction=False, lambda_="log-likelihood")
        statistic, p = float(found.statistic), float(found.pvalue)
    return _Tested(
        name=name,
        test="G",
        statistic=statistic,
        p=p,
        bins=bins,
        reference=_shares(counts[0]),
        current=_shares(counts[1]),
        psi=psi(*counts),
    )


def _pooled(
    first: Mapping[str, int], second: Mapping[str, int]
) -> tuple[tuple[str, ...], list[list[int]]]:
    """Return the words and how often each is in both windows, rare ones as one word."""
    totals = Counter(first) + Counter(second)
    smaller = min(sum(first.values()), sum(second.values())) / sum(totals.values())
    kept = [word for word, count in totals.most_common() if count * smaller >= _LEAST_EXPECTED]
    counts = [[window.get(word, 0) for word in kept] for window in (first, second)]
    rest = [
        sum(window.values()) - sum(row) for window, row in zip((first, second), counts, strict=True)
    ]
    if not any(rest):
        return tuple(kept), counts
    return (*kept, "others"), [[*row, more] for row, more in zip(counts, rest, strict=True)]


def _names(
    reference: Sequence[Observation], current: Sequence[Observation], kind: str
) -> list[str]:
    return sorted({name for one in (*reference, *current) for name in getattr(one, kind)})


def _numbers(window: Sequence[Observation], name: str) -> list[float]:
    found = (one.numbers.get(name) for one in window)
    return [value for value in found if value is not None and math.isfinite(value)]


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts)
    return tuple(round(count / total, 6) for count in counts)
