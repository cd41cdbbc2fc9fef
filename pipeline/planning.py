"""Plan a study: which analyses apply, which series each reads, or why none of them can."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.analysis import Analysis, InputRule, Step
from pipeline.analysis.steps import Crop, in_order
from pipeline.asking import asks
from pipeline.deciding import describe
from pipeline.dicom.series.grouping import IndexedSeries, IndexedStudy
from pipeline.reasons import Reason
from pipeline.selection import Considered, Selection, select


@dataclass(frozen=True, kw_only=True)
class PlannedAnalysis:
    """One analysis of one study: what will be read, or why it is refused before that."""

    analysis: Analysis
    selections: Mapping[str, Selection]
    rejected: tuple[Reason, str] | None = None

    @property
    def plan(self) -> dict[str, Any]:
        """Return the choice and its reasons as JSON values, as ``jobs.plan`` keeps them."""
        inputs = {
            name: {
                "chosen": [_key(series) for series in selection.chosen],
                "considered": [_explained(one) for one in selection.considered],
                **({"optional": True} if self.analysis.inputs[name].optional else {}),
            }
            for name, selection in self.selections.items()
        }
        prepared = {
            name: {"of": one.of, "steps": list(map(str, one.steps))}
            for name, one in self.analysis.prepare.items()
        }
        steps = [_step(step) for step in in_order(self.analysis.steps)]
        return {"inputs": inputs, "prepared": prepared, "steps": steps}


def plan_study(study: IndexedStudy, analyses: Sequence[Analysis]) -> list[PlannedAnalysis]:
    """Plan every analysis that applies to a study.

    An analysis applies where each of its inputs finds a series of its modality and kind in the
    study, sound or not (for ``each``: one that meets its clauses); of those that are optional, one
    for each step that reads nothing else. A study to which none applies is planned once, rejected,
    for the first analysis: every accepted study gets an answer.

    Args:
        study: the study, as the scan indexed it.
        analyses: the analyses that were asked for, at least one.

    """
    planned = [_plan(study, analysis) for analysis in analyses]
    applying = [one for one in planned if _applies(one)]
    if applying or not planned:
        return applying
    names = ", ".join(analysis.name for analysis in analyses)
    sentence = f"no series of this study fits an input of {names}"
    return [dataclasses.replace(planned[0], rejected=(Reason.SELECTION_NO_SERIES, sentence))]


def _applies(planned: PlannedAnalysis) -> bool:
    analysis = planned.analysis
    met = {
        name
        for name, selection in planned.selections.items()
        if _is_met(analysis.inputs[name], selection.considered)
    }
    needed = {name for name, rule in analysis.inputs.items() if not rule.optional}
    return needed <= met and all(_reads_any(step, analysis, met) for step in analysis.steps)


def _reads_any(step: Step, analysis: Analysis, names: Collection[str]) -> bool:
    return any(analysis.origin(one) in names for one in step.inputs)


def _is_met(rule: InputRule, considered: Sequence[Considered]) -> bool:
    """Say whether an input has anything to do with a study.

    One volume is expected of a study that has volumes of that modality: if none fits, somebody
    wants to know. Single images lie beside other series by chance, so only wanted ones count.
    """
    if rule.each:
        return any(one.is_wanted for one in considered)
    return any(_is_candidate(rule, one.series) for one in considered)


def _is_candidate(rule: InputRule, series: IndexedSeries) -> bool:
    is_wanted = series.kind == rule.kind and series.modality in rule.where.modality
    return is_wanted and series.verdict is not Reason.SERIES_LOCALIZER


def _plan(study: IndexedStudy, analysis: Analysis) -> PlannedAnalysis:
    selections = {
        name: select(rule, analysis.policies, study.series)
        for name, rule in analysis.inputs.items()
    }
    rejected = next(_refusals(analysis, selections), None)
    return PlannedAnalysis(analysis=analysis, selections=selections, rejected=rejected)


def _refusals(
    analysis: Analysis, selections: Mapping[str, Selection]
) -> Iterator[tuple[Reason, str]]:
    """Yield why a study cannot be analysed.

    An optional input may be missing. One that is there but faulty is not: what is found in a study
    is not to hang on which of its files were damaged.
    """
    for name, selection in selections.items():
        refusal = _refusal(name, selection.considered)
        is_faulty = refusal[0] is not Reason.SELECTION_NO_SERIES
        if not selection.chosen and (is_faulty or not analysis.inputs[name].optional):
            yield refusal
    chosen = [name for name, selection in selections.items() if selection.chosen]
    for step in analysis.steps:
        if not _reads_any(step, analysis, chosen):
            sentence = f"no series meets every clause of any input of step {step.name}"
            yield Reason.SELECTION_NO_SERIES, sentence


def _refusal(name: str, considered: Iterable[Considered]) -> tuple[Reason, str]:
    """Say why nothing was chosen: the fault of a series that was wanted, or that none was."""
    wanted = [one.series for one in considered if one.fails_only_by_verdict]
    if wanted:
        best = max(wanted, key=lambda s: (len(s.instances), s.series_instance_uid))
        return best.verdict, best.detail or best.verdict.value
    return Reason.SELECTION_NO_SERIES, f"no series meets every clause of input {name}"


def _key(series: IndexedSeries) -> dict[str, Any]:
    return {"series_instance_uid": series.series_instance_uid, "part": series.part}


def _explained(one: Considered) -> dict[str, Any]:
    return {
        **_key(one.series),
        "chosen": one.chosen,
        "clauses": [clause.explained() for clause in one.clauses],
        "because": one.because,
    }


def _step(step: Step) -> dict[str, Any]:
    """Return one step in words: what it comes after, what it sees, when it runs, what it asks."""
    return {
        "step": step.name,
        "model": step.model,
        "input": step.input if isinstance(step.input, str) else list(step.input),
        "after": list(step.after),
        "crop": None if step.crop is None else _cropped(step.crop),
        "when": None if step.when is None else describe(step.when),
        "asks": list(asks(step.uncertainty, step.explain)),
    }


def _cropped(crop: Crop) -> str:
    what = "the mask" if crop.segments is None else ", ".join(crop.segments)
    empty = {
        "skip": "skipped where that is empty",
        "reject": "the job is rejected where that is empty",
        "whole": "the whole input where that is empty",
    }[crop.empty]
    return f"to {what} of step {crop.to} and {crop.margin_mm:g} mm around it, {empty}"
