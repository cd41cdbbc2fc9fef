"""``nightshift doctor``: what is in force here, what is wrong with it, how to mend it."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from api.cli import printing
from api.cli.outcome import ExitCode
from api.cli.printing import AsJson

MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


def doctor(*, as_json: AsJson = False) -> None:
    """Check this machine and say, line by line, what is well, what is not, and how to mend it."""
    from api.cli.checks import examine
    from api.cli.checks.finding import Finding

    findings: list[Finding] = []
    area = ""
    for finding in examine():
        findings.append(finding)
        if as_json:
            continue
        if finding.area != area:
            area = finding.area
            printing.out().print(f"\n{area}", style="bold", markup=False)
        _say(finding.name, finding.verdict, finding.found, finding.mend)
    problems = sum(finding.verdict == "problem" for finding in findings)
    if as_json:
        printing.say_json([vars(finding) for finding in findings])
    else:
        _say_sum([finding.verdict for finding in findings])
    if problems:
        raise typer.Exit(ExitCode.PROGRAM_FAILED)


def _say(name: str, verdict: str, found: str, mend: str) -> None:
    """Print one line, and below it how to mend what it says."""
    from rich.text import Text

    line = Text(f"  {MARKS[verdict]:<8}", style=printing.STATUS_COLOURS[verdict])
    line.append(f"{name:<24}", style="default")
    line.append(found, style="default")
    printing.out().print(line, soft_wrap=True)
    if mend:
        printing.say(f"  {'':<8}{'':<24}-> {mend}")


def _say_sum(verdicts: Sequence[str]) -> None:
    """Print how many lines were not well."""
    problems, warnings = verdicts.count("problem"), verdicts.count("warning")
    printing.say()
    if problems or warnings:
        parts = [printing.plural(problems, "problem"), printing.plural(warnings, "warning")]
        printing.say(", ".join(parts) + ".")
    else:
        printing.say("All is well.")
