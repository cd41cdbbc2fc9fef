"""Choose series for an input, and say clause by clause why the others were not chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.analysis import InputRule, Preference, Where
from pipeline.dicom.series import assembly
from pipeline.dicom.series.grouping import IndexedSeries
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One condition, what it wants and what the series has."""

    clause: str
    expected: Any
    actual: Any
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Considered:
    """One series that was looked at."""

    series: IndexedSeries
    chosen: bool
    clauses: tuple[Clause, ...]
    because: str

    @property
    def fails_only_by_verdict(self) -> bool:
        """Say whether the series was wanted, had it been sound.

        A clause that asks for what an unsound series cannot tell (its spacing) is left open.
        """
        failing = {c.clause for c in self.clauses if not c.holds}
        open_clauses = {c.clause for c in self.clauses if c.actual is None}
        return "verdict" in failing and failing - open_clauses == {"verdict"}

    @property
    def is_wanted(self) -> bool:
        """Say whether the series is what the rule looks for, sound or not."""
        return all(c.holds for c in self.clauses) or self.fails_only_by_verdict


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was chosen for one input, and all that was considered, in the order of the study."""

    chosen: tuple[IndexedSeries, ...]
    considered: tuple[Considered, ...]


def select(rule: InputRule, policies: Policies, series: Sequence[IndexedSeries]) -> Selection:
    """Choose the series of one input; the same for any order of the series."""
    judged = [(one, judge(rule, policies, one)) for one in series]
    matching = [one for one, clauses in judged if all(c.holds for c in clauses)]
    ranked = sorted(matching, key=lambda one: _rank(rule.prefer, one))
    chosen = ranked if rule.each else ranked[:1]
    considered = tuple(
        Considered(
            series=one,
            chosen=one in chosen,
            clauses=clauses,
            because=_because(rule, one, clauses, chosen, _let_in(policies, one)),
        )
        for one, clauses in judged
    )
    return Selection(chosen=tuple(chosen), considered=considered)


def judge(rule: InputRule, policies: Policies, series: IndexedSeries) -> tuple[Clause, ...]:
    """Return every clause of a rule as it stands for one series."""
    verdict = Clause(
        clause="verdict",
        expected="ok",
        actual=series.verdict.value,
        holds=series.verdict is Reason.OK or _let_in(policies, series) is not None,
    )
    kind = Clause(
        clause="kind", expected=rule.kind, actual=series.kind, holds=rule.kind == series.kind
    )
    return (verdict, kind, *_clauses(rule.where, series.attributes))


def _let_in(policies: Policies, series: IndexedSeries) -> str | None:
    """Return the policy by which a series is read that the strict rules refuse, or None."""
    is_looser = policies.spacing_tolerance > Policies().spacing_tolerance
    if series.verdict is not Reason.SERIES_GEOMETRY_INVALID or not is_looser:
        return policies.letting_in(series.verdict)
    try:
        assembly.stack(series.frames, policies=policies)
    except StudyRejected:
        return None
    return f"spacing_tolerance: {policies.spacing_tolerance:g}"


def _clauses(where: Where, attributes: Mapping[str, Any]) -> Iterable[Clause]:
    for name, (attribute, test) in _TESTS.items():
        expected = getattr(where, name)
        if expected is None:
            continue
        actual = attributes.get(attribute)
        if attribute == "spacing_mm":
            actual = None if actual is None else actual[0]
        shown = list(expected) if isinstance(expected, tuple) else expected
        yield Clause(clause=name, expected=shown, actual=actual, holds=test(expected, actual))


def _is_one_of(expected: Any, actual: Any) -> bool:
    return actual in expected


def _equals(expected: Any, actual: Any) -> bool:
    return bool(actual == expected)


def _at_least(expected: Any, actual: Any) -> bool:
    return actual is not None and actual >= expected


def _at_most(expected: Any, actual: Any) -> bool:
    return actual is not None and actual <= expected


def _contains(expected: Any, actual: Any) -> bool:
    text = _folded(actual)
    return any(word.casefold() in text for word in expected)


def _excludes(expected: Any, actual: Any) -> bool:
    return not _contains(expected, actual)


def _folded(actual: Any) -> str:
    return ("\\".join(actual) if isinstance(actual, list) else str(actual or "")).casefold()


#: clause -> (the attribute it asks about, its test)
_TESTS: Final[Mapping[str, tuple[str, Callable[[Any, Any], bool]]]] = {
    "modality": ("modality", _is_one_of),
    "minimum_slices": ("slices", _at_least),
    "maximum_slices": ("slices", _at_most),
    "maximum_frames": ("frames", _at_most),
    "minimum_rows": ("rows", _at_least),
    "maximum_slice_spacing_mm": ("spacing_mm", _at_most),
    "maximum_unread_neighbours": ("unread_neighbours", _at_most),
    "orientation": ("orientation", _is_one_of),
    "colour": ("is_colour", _equals),
    "contrast": ("contrast", _equals),
    "image_type_contains": ("image_type", _contains),
    "image_type_excludes": ("image_type", _excludes),
    "description_contains": ("series_description", _contains),
    "description_excludes": ("series_description", _excludes),
    "body_part_contains": ("body_part", _contains),
    "kernel_contains": ("kernel", _contains),
    "manufacturer_contains": ("manufacturer", _contains),
}


def _thickness(series: IndexedSeries) -> float:
    spacing = series.attributes["spacing_mm"]
    return float("inf") if spacing is None else float(spacing[0])


#: preference -> sort key; the least comes first
_PREFERENCES: Final[Mapping[Preference, Callable[[IndexedSeries], float]]] = {
    "most_slices": lambda s: -s.attributes["slices"],
    "thinnest": _thickness,
    "largest_matrix": lambda s: -s.attributes["rows"] * s.attributes["columns"],
    "original": lambda s: 0 if "ORIGINAL" in s.attributes["image_type"] else 1,
    "no_contrast": lambda s: 1 if s.attributes["contrast"] else 0,
    "latest": lambda s: -(s.attributes["series_number"] or 0),
}


def _rank(prefer: Sequence[Preference], series: IndexedSeries) -> tuple[Any, ...]:
    # The UID and the part decide last, so that no tie is left to the order of files.
    values = tuple(_PREFERENCES[preference](series) for preference in prefer)
    return (*values, series.series_instance_uid, series.part)


def _because(
    rule: InputRule,
    series: IndexedSeries,
    clauses: Sequence[Clause],
    chosen: Sequence[IndexedSeries],
    let_in: str | None,
) -> str:
    failing = [c for c in clauses if not c.holds]
    if failing:
        parts = (f"{c.clause} is {_said(c.actual)}, wanted {_said(c.expected)}" for c in failing)
        reason = f" ({series.detail})" if series.detail else ""
        return f"not chosen: {'; '.join(parts)}{reason}"
    if series in chosen and let_in is not None:
        return f"chosen: every clause holds; {series.verdict} is let in by {let_in}"
    if series in chosen:
        return "chosen: every clause holds"
    for preference in rule.prefer:
        key = _PREFERENCES[preference]
        if key(series) != key(chosen[0]):
            return f"not chosen: every clause holds, but another series is preferred ({preference})"
    return "not chosen: every clause holds, but another series comes first by its UID"


def _said(value: Any) -> str:
    if value is None or value in ("", []):
        return "not stated"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
