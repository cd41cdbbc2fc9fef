"""The page of drift: what every analysis is about now, beside what was usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from records.listing import DriftRow

#: pixels of the tallest bar of a value, and of a pair of bars with its gap
_HEIGHT: Final = 48
_STEP: Final = 18


def render(rows: Sequence[DriftRow]) -> str:
    """Return the page of the last look at each analysis."""
    environment = Environment(
        loader=PackageLoader("api", "reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    template = environment.get_template("drift.html")
    return template.render(reports=[_report(row) for row in rows], height=_HEIGHT)


def _report(row: DriftRow) -> Mapping[str, Any]:
    document = row.document
    compared = document["comparisons"]
    return {
        "analysis": row.analysis,
        "version": row.version,
        "models": document["models"],
        "reference": _window(document["reference"]),
        "current": _window(document["current"]),
        "looked_at": f"{row.looked_at:%Y-%m-%d %H:%M} UTC",
        "since": None if row.since is None else f"{row.since:%Y-%m-%d %H:%M} UTC",
        "drifted": [one["name"] for one in compared if one["drifted"]],
        "too_few": document["too_few"],
        "least_count": document["least_count"],
        "rows": [one | {"bars": _bars(one), "width": _STEP * len(one["bins"])} for one in compared],
    }


def _window(window: Mapping[str, Any]) -> str:
    if not window["jobs"]:
        return "no jobs"
    return f"{window['jobs']} jobs, {window['first'][:10]} to {window['last'][:10]}"


def _bars(compared: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    shares = zip(compared["bins"], compared["reference"], compared["current"], strict=True)
    scale = _HEIGHT / max(*compared["reference"], *compared["current"])
    return [
        {
            "x": _STEP * place,
            "usual": round(scale * usual, 1),
            "now": round(scale * now, 1),
            "title": f"{name or 'none'}: {usual:.0%}, now {now:.0%}",
        }
        for place, (name, usual, now) in enumerate(shares)
    ]
