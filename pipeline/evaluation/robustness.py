"""How good a model still is where inputs were changed to mislead it, by how far they were.

The statistics are those of the kind, under names of their own: ``accuracy_under_pgd_0.03`` is the
accuracy on inputs of which the attack changed no value by more than 0.03.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from pipeline.evaluation import classification, segmentation
from pipeline.evaluation.scores import Scores
from pipeline.evaluation.statistic import Statistic

#: what is stated, of all that could be
_STATED: Final[Mapping[str, tuple[str, Callable[[Scores], Iterator[Statistic]]]]] = {
    "classification": ("accuracy", classification.statistics),
    "segmentation": ("dice", segmentation.statistics),
}


def statistics(scores: Scores) -> Iterator[Statistic]:
    """Yield one statistic for each strength that every case was attacked with, of each label."""
    if not scores.cases or not scores.cases[0].attacked:
        return
    name, every = _STATED[scores.kind]
    for place, one in enumerate(scores.cases[0].attacked):
        for statistic in every(_under(scores, place)):
            if statistic.name == name:
                told = f"{name}_under_{scores.attack}_{one.epsilon:g}"
                yield replace(statistic, name=told)


def _under(scores: Scores, place: int) -> Scores:
    """Return the scores under the attack at this place of the list."""
    cases = [
        case.model_copy(
            update={
                "classified": case.attacked[place].classified,
                "overlaps": case.attacked[place].overlaps,
            }
        )
        for case in scores.cases
    ]
    return scores.model_copy(update={"cases": tuple(cases)})
