"""Whether a step runs: its condition on what earlier steps found, and how it came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from pipeline.analysis.steps import All, AnyOf, Comparison, Condition, Not
from pipeline.clause import Clause, said
from pipeline.results import Classification, Detection, Finding, Measurement, Segment

#: returns what a step found, for the input that is asked about
Found: TypeAlias = Callable[[str], Sequence[Finding]]

_BOUNDS: Final = {
    "minimum": ("at least", float.__ge__),
    "maximum": ("at most", float.__le__),
    "above": ("above", float.__gt__),
    "below": ("below", float.__lt__),
}
_QUANTITIES: Final = {
    "top": "likeliest label",
    "score": "score",
    "volume_ml": "volume in mL",
    "count": "count",
    "value": "value",
}


def judge(condition: Condition, found: Found) -> Clause:
    """Return a condition as it stands for what was found."""
    match condition:
        case Comparison():
            return _compared(condition, found(condition.step))
        case All():
            parts = tuple(judge(part, found) for part in condition.all)
            return _group("all", "every one", parts, holds=all(p.holds for p in parts))
        case AnyOf():
            parts = tuple(judge(part, found) for part in condition.any)
            return _group("any", "one of these", parts, holds=any(p.holds for p in parts))
        case Not():
            part = judge(condition.is_not, found)
            return _group("not", "does not hold", (part,), holds=not part.holds)


def failure(clause: Clause) -> str:
    """Say in words why a condition does not hold."""
    match clause.clause:
        case "all":
            return " and ".join(failure(part) for part in clause.parts if not part.holds)
        case "any":
            return " and ".join(map(failure, clause.parts))
        case "not":
            return " and ".join(f"{_told(part)}, which is not wanted" for part in clause.parts)
        case _:
            return f"{_told(clause)}, wanted {clause.expected}"


def describe(condition: Condition) -> str:
    """Say in words what a condition asks."""
    match condition:
        case Comparison():
            return f"{_subject(condition)} is {_wanted(condition)}"
        case All():
            return " and ".join(map(_bracketed, condition.all))
        case AnyOf():
            return " or ".join(map(_bracketed, condition.any))
        case Not():
            return f"not ({describe(condition.is_not)})"


def _bracketed(condition: Condition) -> str:
    said_so = describe(condition)
    return f"({said_so})" if isinstance(condition, All | AnyOf) else said_so


def _told(clause: Clause) -> str:
    if clause.parts:
        return " and ".join(_told(part) for part in clause.parts if part.holds) or "it holds"
    is_number = isinstance(clause.actual, float)
    return f"{clause.clause} is {f'{clause.actual:g}' if is_number else said(clause.actual)}"


def _group(clause: str, expected: str, parts: tuple[Clause, ...], *, holds: bool) -> Clause:
    holding = [part.clause for part in parts if part.holds]
    return Clause(clause=clause, expected=expected, actual=holding, holds=holds, parts=parts)


def _compared(asked: Comparison, findings: Sequence[Finding]) -> Clause:
    actual = _ACTUAL[asked.quantity](asked, findings)
    if isinstance(actual, float):
        holds = all(_BOUNDS[name][1](actual, bound) for name, bound in asked.bounds.items())
    else:
        holds = actual is not None and any(label in asked.labels for label in actual)
    return Clause(
        clause=_subject(asked),
        expected=_wanted(asked),
        actual=round(actual, 6) if isinstance(actual, float) else actual,
        holds=holds,
    )


def _subject(asked: Comparison) -> str:
    quantity = _QUANTITIES[asked.quantity]
    if asked.quantity == "top":
        return f"{quantity} of step {asked.step}"
    scored = "" if asked.minimum_score is None else f" scored at least {asked.minimum_score:g}"
    return f"{quantity} of {asked.labels[0]}{scored} in step {asked.step}"


def _wanted(asked: Comparison) -> str:
    if asked.quantity == "top":
        return " or ".join(asked.labels)
    return " and ".join(f"{_BOUNDS[name][0]} {bound:g}" for name, bound in asked.bounds.items())


def _top(_: Comparison, findings: Sequence[Finding]) -> list[str] | None:
    return [f.label for f in findings if isinstance(f, Classification) and f.is_top] or None


def _score(asked: Comparison, findings: Sequence[Finding]) -> float | None:
    return _largest(
        f.score for f in findings if isinstance(f, Classification) and f.label in asked.labels
    )


def _volume(asked: Comparison, findings: Sequence[Finding]) -> float | None:
    volumes = [f.volume_ml for f in findings if isinstance(f, Segment) and f.label in asked.labels]
    return float(sum(volumes)) if volumes else None


def _count(asked: Comparison, findings: Sequence[Finding]) -> float:
    least = asked.minimum_score or 0.0
    boxes = [f for f in findings if isinstance(f, Detection) and f.label in asked.labels]
    return float(sum(box.score >= least for box in boxes))


def _value(asked: Comparison, findings: Sequence[Finding]) -> float | None:
    return _largest(
        f.value for f in findings if isinstance(f, Measurement) and f.label in asked.labels
    )


def _largest(values: Iterable[float]) -> float | None:
    found = [float(value) for value in values]
    return max(found) if found else None


#: of several inputs together: the highest score, the largest value, volumes and counts summed
_ACTUAL: Final = {
    "top": _top,
    "score": _score,
    "volume_ml": _volume,
    "count": _count,
    "value": _value,
}
