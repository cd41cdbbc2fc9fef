"""Choose series for an input, and say clause by clause why the others were not chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.analysis import InputRule, Preference, TieBreaker
from pipeline.analysis.clauses import Clauses, Where
from pipeline.clause import Clause, said
from pipeline.dicom.series import assembly
from pipeline.dicom.series.grouping import IndexedSeries
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason


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
        failing = {c.clause for c in self.clauses if not c.holds and not c.is_open}
        return failing == {"verdict"}

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
    return (verdict, kind, *_where(rule.where, series.attributes))


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


def _where(where: Where, attributes: Mapping[str, Any]) -> Iterator[Clause]:
    yield from _clauses(where, attributes)
    if where.any_of:
        parts = _groups("alternative", where.any_of, attributes)
        yield _group("any_of", "one alternative", parts, holds=any(p.holds for p in parts))
    if where.none_of:
        parts = _groups("exception", where.none_of, attributes)
        yield _group("none_of", "no exception", parts, holds=not any(p.holds for p in parts))


def _clauses(clauses: Clauses, attributes: Mapping[str, Any]) -> Iterator[Clause]:
    for name, expected in clauses.asked():
        actual = _value(attributes, name.attribute, is_number=name.is_about_numbers)
        yield Clause(
            clause=name.name,
            expected=list(expected) if isinstance(expected, tuple) else expected,
            actual=actual,
            holds=name.test(expected, actual),
        )


def _groups(
    word: str, groups: Sequence[Clauses], attributes: Mapping[str, Any]
) -> tuple[Clause, ...]:
    """Judge groups of clauses, each of which holds where all of it does."""
    judged = []
    for number, group in enumerate(groups, start=1):
        parts = tuple(_clauses(group, attributes))
        holds = all(part.holds for part in parts)
        judged.append(_group(f"{word} {number}", "every clause", parts, holds=holds))
    return tuple(judged)


def _group(clause: str, expected: str, parts: tuple[Clause, ...], *, holds: bool) -> Clause:
    holding = [part.clause for part in parts if part.holds]
    return Clause(clause=clause, expected=expected, actual=holding, holds=holds, parts=parts)


def _value(attributes: Mapping[str, Any], path: str, *, is_number: bool) -> Any:
    """Follow a path of the vocabulary, e.g. ``spacing_mm.0``. None where it leads nowhere.

    Phases are kept as the texts of their elements; what is no number there is as not stated.
    """
    value: Any = attributes
    for key in path.split("."):
        if value is None:
            return None
        value = value.get(key) if isinstance(value, Mapping) else value[int(key)]
    if not (is_number and isinstance(value, str)):
        return value
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _first(attribute: str, *, sign: int = 1) -> Callable[[IndexedSeries], float]:
    """Order by a number, the least first (the largest with sign -1), what has none last."""

    def key(series: IndexedSeries) -> float:
        value = _value(series.attributes, attribute, is_number=True)
        return math.inf if value is None else sign * float(value)

    return key


def _is_contrasted(series: IndexedSeries) -> bool:
    return bool(series.attributes["contrast"])


#: word -> sort key; the least comes first
_TIE_BREAKERS: Final[Mapping[TieBreaker, Callable[[IndexedSeries], float]]] = {
    "most_slices": _first("slices", sign=-1),
    "fewest_slices": _first("slices"),
    "thinnest": _first("spacing_mm.0"),
    "thickest": _first("spacing_mm.0", sign=-1),
    "largest_matrix": lambda s: -s.attributes["rows"] * s.attributes["columns"],
    "finest_pixels": _first("pixel_spacing_mm.0"),
    "original": lambda s: 0 if "ORIGINAL" in s.attributes["image_type"] else 1,
    "no_contrast": _is_contrasted,
    "contrast": lambda s: not _is_contrasted(s),
    "axial": lambda s: 0 if s.attributes["orientation"] == "axial" else 1,
    "highest_field": _first("field_strength_t", sign=-1),
    "latest": lambda s: -(s.attributes["series_number"] or 0),
    "earliest": _first("series_number"),
}


def _key(preference: Preference, series: IndexedSeries) -> float:
    if isinstance(preference, str):
        return _TIE_BREAKERS[preference](series)
    return 0 if all(c.holds for c in _clauses(preference, series.attributes)) else 1


def _rank(prefer: Sequence[Preference], series: IndexedSeries) -> tuple[Any, ...]:
    # The UID and the part decide last, so that no tie is left to the order of files.
    values = tuple(_key(preference, series) for preference in prefer)
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
        parts = "; ".join(map(_failure, failing))
        reason = f" ({series.detail})" if series.detail else ""
        return f"not chosen: {parts}{reason}"
    if series in chosen and let_in is not None:
        return f"chosen: every clause holds; {series.verdict} is let in by {let_in}"
    if series in chosen:
        return "chosen: every clause holds"
    for preference in rule.prefer:
        if _key(preference, series) != _key(preference, chosen[0]):
            why = f"another series is preferred ({_named(preference)})"
            return f"not chosen: every clause holds, but {why}"
    return "not chosen: every clause holds, but another series comes first by its UID"


def _failure(clause: Clause) -> str:
    """Say why one clause does not hold."""
    if clause.clause == "any_of":
        return f"none of {len(clause.parts)} alternatives holds ({_failures(clause.parts)})"
    if clause.clause == "none_of":
        return f"it is an exception ({', '.join(p.clause for p in clause.parts if p.holds)})"
    return f"{clause.clause} is {said(clause.actual)}, wanted {said(clause.expected)}"


def _failures(groups: Sequence[Clause]) -> str:
    return "; ".join(
        f"{group.clause}: {', '.join(_failure(part) for part in group.parts if not part.holds)}"
        for group in groups
    )


def _named(preference: Preference) -> str:
    if isinstance(preference, str):
        return preference
    return ", ".join(f"{name.name}: {_asked(value)}" for name, value in preference.asked())


def _asked(expected: Any) -> str:
    return said(list(expected) if isinstance(expected, tuple) else expected)
