"""Statistics of a segmentation: one of all labels together, the others label by label.

Overlap, distances and errors of volume are those of cases whose reference holds the label; cases
whose reference does not stand apart with their false alarms, because nothing else has a value
there. A distance has none where nothing was found: ``missed`` says how often that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.evaluation import objects
from pipeline.evaluation.scores import Overlap, Scores
from pipeline.evaluation.statistic import Statistic, mean


def statistics(scores: Scores) -> Iterator[Statistic]:
    """Yield the mean Dice of the labels that are there, then the statistics of each label."""
    yield mean("mean_dice", [_mean_dice(case.overlaps) for case in scores.cases])
    for number, label in enumerate(scores.labels):
        overlaps = [case.overlaps[number] for case in scores.cases]
        yield mean("dice", [one.dice for one in overlaps], label=label)
        yield mean("surface_dice", [one.surface_dice for one in overlaps], label=label)
        errors = [_volume_error(one) for one in overlaps]
        yield mean("volume_error", errors, label=label, is_higher_better=None)
        distances = [one.hd95_mm for one in overlaps]
        yield mean("hd95_mm", distances, label=label, is_higher_better=None)
        yield from (
            mean(name, values, label=label, is_higher_better=False)
            for name, values in _errors(overlaps)
        )
    if all(case.objects for case in scores.cases):
        yield from objects.statistics(scores)


def _mean_dice(overlaps: Sequence[Overlap]) -> float | None:
    known = [one.dice for one in overlaps if one.dice is not None]
    return sum(known) / len(known) if known else None


def _errors(overlaps: Sequence[Overlap]) -> Iterator[tuple[str, list[float | None]]]:
    """Yield what should be small, in each case that it has a value in."""
    yield "missed", [None if one.is_empty else 1.0 * (one.found_size == 0) for one in overlaps]
    errors = [_volume_error(one) for one in overlaps]
    yield "absolute_volume_error", [None if one is None else abs(one) for one in errors]
    yield "false_alarms", [1.0 * (one.found_size > 0) if one.is_empty else None for one in overlaps]
    # volumes and single images may stand in one manifest; their sizes are not added up
    for unit in sorted({one.unit for one in overlaps}):
        is_counted = [one.is_empty and one.unit == unit for one in overlaps]
        sizes = [
            one.found_size if counted else None
            for one, counted in zip(overlaps, is_counted, strict=True)
        ]
        yield f"false_alarm_{unit}", sizes


def _volume_error(overlap: Overlap) -> float | None:
    """Return how much too large the answer is, as a share of the reference."""
    if overlap.is_empty:
        return None
    return (overlap.found_size - overlap.true_size) / overlap.true_size
