"""The gate: whether a candidate may take the place of the active version.

Nothing goes in but scores that are kept, the rule, and what speaks against a comparison at all;
the same of each give the same verdict to the last digit. Whether the candidate is really made
active is for a person to say.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from pipeline.evaluation import comparison, summary
from pipeline.evaluation.comparison import Comparison, Pair
from pipeline.evaluation.rule import SIZES_OF_FALSE_ALARMS, Floor, Rule
from pipeline.evaluation.scores import Scores, ScoresRefused
from pipeline.evaluation.statistic import Statistic, mean, title_of, value_of


class Decision(enum.StrEnum):
    """What a gate says."""

    PROMOTE = "promote"
    REFUSE = "refuse"
    CANNOT_DECIDE = "cannot decide"


@dataclass(frozen=True)
class Finding:
    """One condition of the rule. ``holds`` is None where it cannot be told."""

    sentence: str
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """The two versions in one group of patients, by the statistic of the rule."""

    attribute: str
    group: str
    comparison: Comparison


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was decided, and each thing it was decided by."""

    decision: Decision
    sentence: str
    findings: tuple[Finding, ...]
    #: None where nothing could be compared
    comparison: Comparison | None
    subgroups: tuple[Subgroup, ...]

    def stated(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


#: worse by how much: what a comparison says of a loss that counts
_HOLDS: Final[dict[comparison.Decision, bool | None]] = {
    comparison.Decision.BETTER: True,
    comparison.Decision.NOT_WORSE: True,
    comparison.Decision.WORSE: False,
    comparison.Decision.CANNOT_DECIDE: None,
}


def decide(
    rule: Rule, candidate: Scores, active: Scores | None, *, against: Sequence[str] = ()
) -> Verdict:
    """Decide by a rule.

    Without an active version only the floors speak, and a rule that states none decides nothing.

    Args:
        rule: of the recipe.
        candidate: scores of the held-out cases.
        active: of the version in use, on the same cases; None = there is none.
        against: why the two cannot be compared, or the held-out cases cannot be trusted, a
            sentence each.

    Raises:
        ScoresRefused: the rule asks for a figure that the kind does not have.

    """
    findings = [Finding(sentence, None) for sentence in against]
    findings += [_floor(floor, candidate, rule.least_patients, "") for floor in rule.floors]
    both, found, subgroups = None, None, tuple[Subgroup, ...]()
    if active is not None:
        both, why = _pair(rule, candidate, active)
        findings += [Finding(why, None)] if why else []
    elif not against and not rule.every_floor:
        sentence = "no version is active to compare with, and the rule states no floors"
        findings.append(Finding(sentence, None))
    if both is not None:
        found = both.compare(rule.question(candidate.kind))
        subgroups = tuple(_subgroups(both, rule))
        findings.append(_compared(rule, found, candidate))
        findings += [_spared(one, rule) for one in subgroups if _is_asked(one, rule)]
    findings += _floors_of_subgroups(rule, candidate)
    if not findings:  # nothing was asked, which must not pass for nothing that failed
        sentence = "no version is active to compare with, and no group is large enough for a floor"
        findings.append(Finding(sentence, None))
    decision = _decision(findings, is_sound=not against)
    return Verdict(
        decision=decision,
        sentence=_sentence(decision, findings),
        findings=tuple(findings),
        comparison=found,
        subgroups=subgroups,
    )


def _decision(findings: Sequence[Finding], *, is_sound: bool) -> Decision:
    if not is_sound:
        return Decision.CANNOT_DECIDE
    if any(one.holds is False for one in findings):
        return Decision.REFUSE
    if any(one.holds is None for one in findings):
        return Decision.CANNOT_DECIDE
    return Decision.PROMOTE


def _sentence(decision: Decision, findings: Sequence[Finding]) -> str:
    """Return what decided: all that failed, or could not be told, or else everything."""
    deciding = {
        Decision.PROMOTE: True,
        Decision.REFUSE: False,
        Decision.CANNOT_DECIDE: None,
    }[decision]
    return "; ".join(one.sentence for one in findings if one.holds is deciding)


def _pair(rule: Rule, candidate: Scores, active: Scores) -> tuple[Pair | None, str | None]:
    """Return both side by side, or why the rule cannot be asked of them."""
    try:
        both = comparison.pair(candidate, active)
    except ScoresRefused as refused:
        return None, refused.sentence
    asked = rule.question(candidate.kind)
    if (asked.statistic, asked.label) not in both.statistics:
        return None, f"the two versions are not both judged by {asked.statistic}"
    return both, None


def _compared(rule: Rule, found: Comparison, candidate: Scores) -> Finding:
    """Say whether the candidate does as well as the rule wants."""
    question = rule.question(candidate.kind)
    said = _said(_title(question.statistic, question.label), found)
    if found.decision is comparison.Decision.NOT_WORSE and rule.wants == "better":
        return Finding(f"{said}, and better is wanted", holds=False)
    if found.patients < rule.least_patients:
        return Finding(f"{said}, {rule.least_patients} patients are needed", None)
    return Finding(said, _HOLDS[found.decision])


def _subgroups(both: Pair, rule: Rule) -> Iterator[Subgroup]:
    """Yield every group that the cases state, whether the rule asks for it or not."""
    for attribute, groups in summary.groups(both.active).items():
        margin = getattr(rule.subgroups.get(attribute), "margin", None)
        question = comparison.Question(
            statistic=rule.question(both.active.kind).statistic,
            label=rule.label,
            margin=rule.margin if margin is None else margin,
            least_patients=_least(rule, attribute),
        )
        for group, chosen in groups.items():
            cases = both.of_cases(chosen)
            # a size is stated only in a group that has it: of its volumes, or of its images
            if (question.statistic, question.label) in cases.statistics:
                found = cases.compare(question)
                yield Subgroup(attribute=attribute, group=group, comparison=found)


def _least(rule: Rule, attribute: str) -> int:
    asked = rule.subgroups.get(attribute)
    return rule.least_patients if asked is None else asked.least_patients


def _is_asked(one: Subgroup, rule: Rule) -> bool:
    asked = rule.subgroups.get(one.attribute)
    is_asked = asked is not None and asked.margin is not None
    return is_asked and one.comparison.patients >= _least(rule, one.attribute)


def _spared(one: Subgroup, rule: Rule) -> Finding:
    """Say whether a group loses more than it may: shown worse, or perhaps worse.

    A group is small. Where its gain lies within the margin it passes, though its interval does
    not: wide intervals alone would stop every candidate.
    """
    found, margin = one.comparison, rule.subgroups[one.attribute].margin or 0.0
    if found.gain is not None and found.gain >= -margin:
        return Finding(f"{one.attribute} {one.group} loses nothing that counts", holds=True)
    return Finding(_said(f"{one.attribute} {one.group}", found), _HOLDS[found.decision])


def _floors_of_subgroups(rule: Rule, candidate: Scores) -> Iterator[Finding]:
    groups = summary.groups(candidate)
    for attribute, asked in rule.subgroups.items():
        if attribute not in groups:
            yield Finding(f"no case states its {attribute}", None)
        for group, chosen in groups.get(attribute, {}).items():
            cases, name = candidate.of_cases(chosen), f" of {attribute} {group}"
            for floor in asked.floors:
                if _patients(floor, cases) >= asked.least_patients:
                    yield _floor(floor, cases, asked.least_patients, name)


def _floor(floor: Floor, scores: Scores, least_patients: int, of: str) -> Finding:
    """Say whether a figure of the candidate reaches its floor."""
    statistic = _figure(floor, scores)
    title, value = _title(floor.statistic, floor.label) + of, value_of(statistic)
    patients = _patients(floor, scores)
    if value is None or patients < least_patients:
        needed = f"{patients} patients bear on it, {least_patients} are needed"
        return Finding(f"whether {title} reaches {floor.value:g} cannot be told: {needed}", None)
    is_met = value >= floor.value if statistic.is_higher_better else value <= floor.value
    word = {True: "reaches", False: "misses"}[is_met]
    return Finding(f"{title} of {value:.3g} {word} {floor.value:g}", is_met)


def _patients(floor: Floor, scores: Scores) -> int:
    bearing = _figure(floor, scores).bearing
    return len(np.unique(np.array(scores.patients, str)[bearing]))


def _figure(floor: Floor, scores: Scores) -> Statistic:
    """Return what a floor is asked of; a size that no case has is without a value."""
    try:
        return summary.named(scores, floor.statistic, floor.label)
    except ScoresRefused:
        is_size = scores.kind == "segmentation" and floor.statistic in SIZES_OF_FALSE_ALARMS
        if not is_size or floor.label not in scores.labels:
            raise
        sizes = [None] * len(scores.cases)
        return mean(floor.statistic, sizes, label=floor.label, is_higher_better=False)


def _title(statistic: str, label: str | None) -> str:
    return title_of(statistic) + ("" if label is None else f" of {label}")


def _said(what: str, found: Comparison) -> str:
    if found.decision is comparison.Decision.CANNOT_DECIDE:
        return f"whether {what} is better or worse cannot be told: {_figures(found)}"
    return f"{what} is {found.decision}: {_figures(found)}"


def _figures(found: Comparison) -> str:
    """Return both values and the gain in words."""
    if found.candidate is None or found.active is None or found.gain is None:
        return "it has no value"
    between = found.interval
    said = f"{found.candidate:.3g} after {found.active:.3g}, gain {found.gain:+.3g}"
    interval = "" if between is None else f" ({between.low:+.3g} to {between.high:+.3g})"
    return f"{said}{interval}, {found.patients} patients"
