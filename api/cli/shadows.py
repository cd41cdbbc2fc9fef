"""``nightshift models shadow`` and ``shadow-report``: a candidate beside the active version."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.context import open_records, operator
from api.cli.gates import Name, Version, refusals
from api.cli.printing import AsJson, Column

if TYPE_CHECKING:
    from records.shadows import ShadowReport

DIFFERENCES = (
    Column("Job", "job"),
    Column("Study", "study"),
    Column("Step", "step"),
    Column("Agreed", "agreed"),
    Column("Why", "reason"),
)


class Switch(StrEnum):
    """Whether a candidate runs beside the active version."""

    ON = "on"
    OFF = "off"


def shadow(
    name: Name,
    version: Version,
    switch: Annotated[Switch, typer.Argument(help="Whether it runs.", show_default=False)],
) -> None:
    """Let a candidate run beside the active version. Nothing that it says is delivered."""
    from records import shadows
    from records.database import unit_of_work

    is_on = switch is Switch.ON
    with open_records() as records, unit_of_work(records.sessions) as session, refusals():
        shadows.switch(session, name, version, on=is_on, by=operator())
    said = "runs beside the active version from the next job on" if is_on else "no longer runs"
    printing.say(f"{name} {version} {said}.")


def shadow_report(name: Name, version: Version, *, as_json: AsJson = False) -> None:
    """Say how a candidate agrees with what was delivered, and where it differs most."""
    from records import shadows
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session, refusals():
        report = shadows.report(session, name, version)
    if as_json:
        printing.say_json(asdict(report))
        return
    _say(report)
    rows: list[dict[str, Any]] = [asdict(one) for one in report.differences]
    printing.listing(rows, DIFFERENCES, as_json=False, empty="No study differs.")


def _say(report: ShadowReport) -> None:
    """Print the numbers over all studies, those that there are."""
    state = "on" if report.is_on else "off"
    printing.say(f"{report.model} {report.version}, shadow {state}: {report.studies} studies")
    numbers = {
        "without answer": report.failed or None,
        "same class": report.same_class,
        "kappa": report.kappa,
        **{f"Dice of {label}": value for label, value in report.dice.items()},
        "same boxes": report.same_boxes,
        "seconds": report.seconds or None,
    }
    for title, number in numbers.items():
        if number is not None:
            printing.say(f"  {title:<20}{printing.show(number)}")
