"""``nightshift doctor``: what is in force here, what is wrong with it, how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from api.cli import printing
from api.cli.outcome import ExitCode
from api.cli.printing import AsJson

if TYPE_CHECKING:
    from api.cli.checks.finding import Finding

MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}
WIDEST_NAME = 48


def doctor(*, as_json: AsJson = False) -> None:
    """Check this machine: what is in force, what is wrong, how to mend it."""
    from api.cli.checks import examine

    found: list[Finding] = []
    for area, findings in groupby(examine(), key=lambda finding: finding.area):
        together = list(findings)
        found += together
        if not as_json:
            _say_area(area, together)
    verdicts = [finding.verdict for finding in found]
    if as_json:
        printing.say_json([vars(finding) for finding in found])
    else:
        _say_sum(verdicts)
    if "problem" in verdicts:
        raise typer.Exit(ExitCode.PROGRAM_FAILED)


def _say_area(area: str, findings: Sequence[Finding]) -> None:
    """Print one area, its columns aligned; below a line how to mend what it says."""
    from rich.text import Text

    width = min(WIDEST_NAME, max(len(finding.name) for finding in findings)) + 2
    printing.out().print(f"\n{area}", style="bold", markup=False)
    for finding in findings:
        line = Text(f"  {MARKS[finding.verdict]:<9}", printing.STATUS_COLOURS[finding.verdict])
        line.append(f"{shorten(finding.name):<{width}}{finding.found}", "default")
        printing.out().print(line, soft_wrap=True)
        if finding.mend:
            printing.say(f"  {'':<9}{'':<{width}}-> {finding.mend}")


def shorten(name: str) -> str:
    """Return a name that fits its column; the standard's names of encodings are long."""
    return name if len(name) <= WIDEST_NAME else name[: WIDEST_NAME - 3] + "..."


def _say_sum(verdicts: Sequence[str]) -> None:
    """Print how many lines were not well."""
    problems, warnings = verdicts.count("problem"), verdicts.count("warning")
    printing.say()
    if problems or warnings:
        parts = [printing.plural(problems, "problem"), printing.plural(warnings, "warning")]
        printing.say(", ".join(parts) + ".")
    else:
        printing.say("All is well.")
