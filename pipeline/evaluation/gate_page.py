"""The page of a gate: candidate and active version side by side, and what was decided by what.

As ``pipeline.evaluation.page``: one HTML file, no script, no network, no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pipeline.evaluation import comparison, page, summary
from pipeline.evaluation.comparison import Comparison, Pair, Question
from pipeline.evaluation.gate import Verdict
from pipeline.evaluation.page import Cell, Heading, Table
from pipeline.evaluation.scores import Scores, ScoresRefused
from pipeline.evaluation.statistic import title_of

_COLUMNS: Final = ("candidate", "active", "gain")
_HOLDS: Final[Mapping[bool | None, str]] = {
    True: "holds",
    False: "does not hold",
    None: "cannot be told",
}
_WORST: Final = 10


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One of the worst cases: its image by sha256 and how well it went, what the picture shows."""

    title: str
    said: str
    #: WebP, base64
    data: str = field(repr=False)


def render(
    heading: Heading,
    verdict: Verdict,
    candidate: Scores,
    active: Scores | None,
    *,
    worst: Sequence[Picture] = (),
) -> str:
    """Return the page.

    Args:
        heading: which two versions these are.
        verdict: of the gate.
        candidate: its scores of the held-out cases.
        active: those of the version in use; None = there is none.
        worst: pictures of the cases that the candidate did worst on.

    """
    return page.template("gate.html").render(
        heading=heading,
        decision=verdict.decision.value,
        sentence=verdict.sentence,
        cases=len(candidate.cases),
        patients=len(set(candidate.patients)),
        tables=list(_tables(verdict, candidate, active)),
        worst=worst,
        worst_by=summary.WORST_BY[candidate.kind],
    )


def _tables(verdict: Verdict, candidate: Scores, active: Scores | None) -> Iterator[Table]:
    conditions = [(one.sentence, [Cell(_HOLDS[one.holds])]) for one in verdict.findings]
    yield Table(title="Conditions", columns=[""], rows=conditions)
    both = None if active is None else _pair(candidate, active)
    if both is None:
        measured = page.statistics_in(summary.summarise(candidate))
        rows = [(title_of(name), [page.words(one)]) for name, one in measured.items()]
        yield Table(title="Figures of the candidate", columns=["candidate"], rows=rows)
        return
    yield Table(title="Figures", columns=_COLUMNS, rows=list(_figures(both)))
    if verdict.subgroups:
        groups = [
            (f"{one.attribute} {one.group}", _cells(one.comparison)) for one in verdict.subgroups
        ]
        yield Table(title="Subgroups", columns=_COLUMNS, rows=groups)
    lost = _lost(both)
    if lost.rows:
        yield lost


def _pair(candidate: Scores, active: Scores) -> Pair | None:
    try:
        return comparison.pair(candidate, active)
    except ScoresRefused:  # the verdict says so
        return None


def _figures(both: Pair) -> Iterator[tuple[str, list[Cell]]]:
    for name, label in both.statistics:
        found = both.compare(Question(statistic=name, label=label))
        yield title_of(name) + ("" if label is None else f" of {label}"), _cells(found)


def _cells(found: Comparison) -> list[Cell]:
    values = [
        Cell("none" if value is None else f"{value:.3g}")
        for value in (found.candidate, found.active)
    ]
    gain, between = "none" if found.gain is None else f"{found.gain:+.3g}", found.interval
    count = f"n {found.patients}"
    said = f"{between.low:+.3g} to {between.high:+.3g}, {count}" if between else count
    return [*values, Cell(gain, said)]


def _lost(both: Pair) -> Table:
    """Return the cases that the candidate does worse by the most."""
    new, old = (np.array(summary.goodness(one), float) for one in (both.candidate, both.active))
    order = np.argsort(new - old, kind="stable")
    rows = [
        (
            both.active.cases[place].image[:16],
            [Cell(f"{new[place]:.3g}"), Cell(f"{old[place]:.3g}"), Cell(f"{lost:+.3g}")],
        )
        for place in order[:_WORST].tolist()
        if (lost := new[place] - old[place]) < 0
    ]
    by = summary.WORST_BY[both.active.kind]
    title = f"Cases that lost most, by the sha256 of the image: {by}"
    return Table(title=title, columns=_COLUMNS, rows=rows)
