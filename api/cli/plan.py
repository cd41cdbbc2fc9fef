"""``nightshift run --dry-run``: which series would be analysed, clause by clause, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from api.cli import printing
from api.cli.children import ask
from api.cli.explain import say_plan
from api.cli.outcome import ExitCode, Problem

if TYPE_CHECKING:
    from worker.queue.settings import Settings


def show(settings: Settings, source: str, analyses: Sequence[str], *, as_json: bool) -> None:
    """Print what a run over ``source`` would do. Nothing is written, no model is loaded.

    Raises:
        Problem: the source holds nothing to analyse, or an analysis is not known.
    """
    words = ["plan", source]
    for name in analyses:
        words += ["--analysis", name]
    answer = ask(settings, words)
    if answer.status == ExitCode.USAGE:
        mend = "`nightshift analyses list` shows them."
        raise Problem(answer.sentence, ExitCode.USAGE, mend=mend)
    if answer.status == ExitCode.NOTHING_TO_ANALYSE:
        message = f"There is nothing to analyse: {answer.last_complaint.rstrip('.')}."
        raise Problem(message, ExitCode.NOTHING_TO_ANALYSE)
    if answer.status:
        message = f"The plan could not be made: {answer.last_complaint}"
        raise Problem(message)
    plan: dict[str, Any] = json.loads(answer.said)
    if as_json:
        printing.say_json(plan)
    else:
        _say(plan)
    if not any(_planned(study) for study in plan["studies"]):
        raise typer.Exit(ExitCode.NOTHING_TO_ANALYSE)


def _say(plan: Mapping[str, Any]) -> None:
    """Print a whole plan for a person."""
    for study in plan["studies"]:
        printing.say(f"Study {study['study_instance_uid']}")
        for analysis in study["analyses"]:
            _say_analysis(analysis)
        printing.say()
    for verdict, count in sorted(plan["files"].items()):
        printing.say(f"  {printing.plural(count, 'file')}: {verdict}")
    jobs = sum(len(_planned(study)) for study in plan["studies"])
    studies = printing.plural(len(plan["studies"]), "study", "studies")
    printing.say(f"{studies}, {printing.plural(jobs, 'job')} would run. Nothing was written.")


def _say_analysis(analysis: Mapping[str, Any]) -> None:
    """Print one analysis of one study: whether it runs, and on what."""
    name = f"{analysis['analysis']} {analysis['version']}"
    if rejected := analysis.get("rejected"):
        printing.say(f"  {name}: no, {rejected['reason']}: {rejected['detail']}")
    else:
        printing.say(f"  {name}: yes")
    say_plan(analysis["plan"])


def _planned(study: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the analyses of a study that would run."""
    return [analysis for analysis in study["analyses"] if not analysis.get("rejected")]
