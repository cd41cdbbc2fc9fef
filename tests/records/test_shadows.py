"""Agreement by chance, against values that can be worked out by hand."""

from __future__ import annotations

import pytest

from records.shadows import kappa


def pairs(counts: list[list[int]]) -> list[tuple[str, ...]]:
    """Return pairs of classes with these counts, rows by the first."""
    return [
        (f"c{row}", f"c{column}")
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        for _ in range(count)
    ]


def test_kappa_is_what_is_agreed_beyond_chance() -> None:
    # observed 35 of 50; by chance 25 * 30 + 25 * 20 of 2500 (Wikipedia's worked example)
    assert kappa(pairs([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert kappa(pairs([[5, 0], [0, 5]])) == pytest.approx(1.0)
    assert kappa(pairs([[0, 5], [5, 0]])) == pytest.approx(-1.0)


def test_kappa_says_nothing_of_one_class_or_of_nothing() -> None:
    assert kappa(pairs([[7]])) is None
    assert kappa([]) is None
