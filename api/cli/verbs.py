"""Which verbs there are and where each is.

A command loads its own verb alone. Loading and building all of them takes longer than most of them
run; only `--help` and the completion of a shell need that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_group

#: panel of `--help` -> verb -> module of `api.cli` and the function, or the group, in it
PANELS: Final[Mapping[str, Mapping[str, str]]] = {
    "Analyse": {
        "run": "run.run",
        "submit": "batches.submit",
        "status": "batches.status",
        "cancel": "batches.cancel",
        "retry": "batches.retry",
        "results": "results.results",
        "jobs": "jobs.jobs",
        "job": "jobs.job",
        "explain": "explain.explain",
        "correct": "corrections.correct",
        "deidentify": "deidentify.deidentify",
        "reidentify": "deidentify.reidentify",
        "analyses": "analyses.app",
    },
    "Learn": {
        "drift": "drift.drift",
        "train": "trainings.train",
        "corrections": "corrections.app",
        "trainings": "trainings.app",
        "manifests": "manifests.app",
        "models": "models.app",
        "schedules": "schedules.app",
    },
    "Services": {
        "up": "services.up",
        "api": "services.api",
        "worker": "services.worker",
        "trainer": "services.trainer",
        "beat": "services.beat",
        "flower": "services.flower",
        "db": "database.app",
    },
    "Account for it": {
        "doctor": "doctor.doctor",
        "audit": "audit.app",
        "keys": "keys.app",
    },
}


class Verbs(Mapping[str, Any]):  # Typer keeps the type of its commands private
    """The commands by their names, each built when it is asked for."""

    def __init__(self) -> None:
        self._panels = {name: panel for panel, verbs in PANELS.items() for name in verbs}
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return the command of a verb."""
        if name not in self._built:
            self._built[name] = _build(self._panels[name], name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names, in the order of `--help`."""
        return iter(self._panels)

    def __len__(self) -> int:
        """Count the verbs."""
        return len(self._panels)


def _build(panel: str, name: str) -> Any:
    module, _, attribute = PANELS[panel][name].partition(".")
    verb = getattr(import_module(f"api.cli.{module}"), attribute)
    holder = typer.Typer(rich_markup_mode="markdown")
    if isinstance(verb, typer.Typer):
        holder.add_typer(verb, name=name, rich_help_panel=panel)
    else:
        holder.command(name, rich_help_panel=panel)(verb)
    return get_group(holder).commands[name]
