"""Whether a candidate is better than the version in use, by the same cases and the same patients.

A paired bootstrap: each resample of the patients judges both versions, so that what makes a case
hard for both does not count. Nothing but the scores that are kept with both goes in, and the same
scores give the same answer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.evaluation import bootstrap, summary
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.scores import CaseScores, Scores, ScoresRefused
from pipeline.evaluation.statistic import Statistic, Weights, value_of


class Decision(enum.StrEnum):
    """What can be said of a candidate."""

    BETTER = "better"
    NOT_WORSE = "not worse"
    WORSE = "worse"
    CANNOT_DECIDE = "cannot decide"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What two versions are compared by, and when that decides."""

    #: name of the statistic, and the label it is stated for; None = of all together
    statistic: str
    label: str | None = None
    #: a loss of less than this counts as none, in the unit of the statistic
    margin: float = 0.0
    #: a gain of less than this counts as none
    least_gain: float = 0.0
    #: fewer patients that bear on the statistic decide nothing
    least_patients: int = 20

    def __post_init__(self) -> None:
        """Refuse margins below 0."""
        if self.margin < 0 or self.least_gain < 0:
            message = "margin and least_gain must not be below 0"
            raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The answer. ``gain`` is above 0 where the candidate does better, whatever the statistic."""

    candidate: float | None
    active: float | None
    gain: float | None
    interval: Interval | None
    #: that bear on the statistic
    patients: int
    decision: Decision


@dataclass(frozen=True)
class Pair:
    """Two versions that were judged on the same cases in the same way; made by ``pair``."""

    candidate: Scores
    active: Scores

    @cached_property
    def weights(self) -> Weights:
        """How often each case counts in each resample, the same for both."""
        return bootstrap.resamples(self.active.patients)

    @cached_property
    def statistics(self) -> Mapping[tuple[str, str | None], tuple[Statistic, Statistic]]:
        """What the two are compared by: (name, label) -> of the candidate, of the active one.

        One of them may have more, where it was attacked too or tells objects apart.
        """
        active = {(old.name, old.label): old for old in summary.statistics(self.active)}
        return {
            (new.name, new.label): (new, active[new.name, new.label])
            for new in summary.statistics(self.candidate)
            if new.is_higher_better is not None and (new.name, new.label) in active
        }

    def of_cases(self, chosen: list[int]) -> Pair:
        """Return the same for some of the cases."""
        return Pair(self.candidate.of_cases(chosen), self.active.of_cases(chosen))

    def compare(self, question: Question) -> Comparison:
        """Answer a question.

        Better: the whole interval of the gain lies above 0, and the gain is at least the least
        one. Not worse: it lies above minus the margin. Worse: it lies below minus the margin.

        Raises:
            ScoresRefused: not both have such a statistic.

        """
        return compare_means([self], question)


def pair(candidate: Scores, active: Scores) -> Pair:
    """Return two versions side by side, their cases in one order.

    Raises:
        ScoresRefused: other cases, labels or settings.

    """
    candidate, active = _in_one_order(candidate), _in_one_order(active)
    if not _are_of_one_kind(candidate, active):
        raise ScoresRefused("the two versions were not judged on the same cases in the same way")
    return Pair(candidate, active)


def compare(candidate: Scores, active: Scores, question: Question) -> Comparison:
    """Compare two versions on the cases that both were judged on, as ``Pair.compare``.

    Raises:
        ScoresRefused: other cases, labels or settings, or no such statistic.

    """
    return pair(candidate, active).compare(question)


def compare_means(pairs: Sequence[Pair], question: Question) -> Comparison:
    """Compare two ways to train, each gone several times, by the mean of what came of each time.

    All are judged on the same cases, and one resample of the patients judges all of them: the
    interval says how much the gain depends on who was judged, not on what was trained on.

    Raises:
        ScoresRefused: other cases from pair to pair, or not all have such a statistic.

    """
    first = pairs[0]
    if not all(_are_of_one_kind(first.active, other.active) for other in pairs[1:]):
        raise ScoresRefused("the pairs were not judged on the same cases in the same way")
    try:
        both = [one.statistics[question.statistic, question.label] for one in pairs]
    except KeyError:
        sentence = f"the two are not both judged by {question.statistic}"
        raise ScoresRefused(sentence) from None
    sign = 1.0 if both[0][0].is_higher_better else -1.0
    candidate, active = (
        _mean([value_of(side) for side in sides]) for sides in zip(*both, strict=True)
    )
    bearing = np.all([side.bearing for sides in both for side in sides], axis=0)
    patients = len(np.unique(np.array(first.active.patients)[bearing]))
    gain, between = None, None
    if candidate is not None and active is not None:
        gain = sign * (candidate - active) + 0.0  # no -0.0
        gains = [new.of(first.weights) - old.of(first.weights) for new, old in both]
        between = bootstrap.interval(sign * np.mean(gains, axis=0) + 0.0, patients)
    return Comparison(
        candidate=candidate,
        active=active,
        gain=gain,
        interval=between,
        patients=patients,
        decision=_decide(gain, between, patients, question),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; none where one has no value."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _decide(
    gain: float | None, between: Interval | None, patients: int, question: Question
) -> Decision:
    if gain is None or between is None or patients < question.least_patients:
        return Decision.CANNOT_DECIDE
    if between.low > 0 and gain >= question.least_gain:
        return Decision.BETTER
    if between.low >= -question.margin:
        return Decision.NOT_WORSE
    return Decision.WORSE if between.high < -question.margin else Decision.CANNOT_DECIDE


def _in_one_order(scores: Scores) -> Scores:
    order = sorted(range(len(scores.cases)), key=lambda place: scores.cases[place].case)
    return scores.of_cases(order)


def _are_of_one_kind(first: Scores, second: Scores) -> bool:
    def stated(scores: Scores) -> object:
        settings = (scores.kind, scores.labels, scores.surface_tolerance_mm, scores.hit_iou)
        return settings, [(case.case, case.patient, _true(case)) for case in scores.cases]

    return stated(first) == stated(second)


def _true(case: CaseScores) -> object:
    """Return what of a case is no matter of the model: what is true, and what it was shown."""
    return (
        case.classified and case.classified.truth,
        case.labelled and case.labelled.truth,
        [one.true_size for one in case.overlaps],
        [one.truths for one in case.boxes],
        case.restored and case.restored.baseline,
    )
