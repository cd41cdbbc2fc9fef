"""The console script ``nightshift``: which verbs there are, and how every one of them ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli import (
    analyses,
    audit,
    batches,
    corrections,
    database,
    deidentify,
    doctor,
    drift,
    explain,
    jobs,
    keys,
    manifests,
    models,
    printing,
    results,
    run,
    schedules,
    services,
    trainings,
)
from api.cli.outcome import ExitCode, Problem


class Door(TyperGroup):
    """The outermost group: turns a Problem into its sentence and its exit code."""

    def invoke(self, ctx: Any) -> Any:  # Typer keeps the type of its inner context private
        """Run the verb that was asked for."""
        try:
            return super().invoke(ctx)
        except Problem as problem:
            printing.note(f"nightshift: {problem.sentence}")
            if problem.mend:
                printing.note(f"            {problem.mend}")
            raise typer.Exit(problem.code) from problem
        except KeyboardInterrupt as interrupt:
            printing.note("nightshift: interrupted.")
            raise typer.Exit(ExitCode.PROGRAM_FAILED) from interrupt


app = typer.Typer(
    cls=Door,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Bulk inference and retraining for medical images. Not for clinical use.",
    epilog="Exit codes: 0 all well; 1 the program failed; 2 wrong usage; 3 nothing to analyse; "
    "4 finished, but some studies were rejected, failed or canceled.",
)

ANALYSE = "Analyse"
LEARN = "Learn"
SERVE = "Services"
ACCOUNT = "Account for it"

VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    ANALYSE: (
        run.run,
        batches.submit,
        batches.status,
        batches.cancel,
        batches.retry,
        results.results,
        jobs.jobs,
        jobs.job,
        explain.explain,
        corrections.correct,
        deidentify.deidentify,
        deidentify.reidentify,
    ),
    LEARN: (drift.drift, trainings.train),
    SERVE: (
        services.up,
        services.api,
        services.worker,
        services.trainer,
        services.beat,
        services.flower,
    ),
    ACCOUNT: (doctor.doctor,),
}
GROUPS = {
    ANALYSE: {"analyses": analyses.app},
    LEARN: {
        "corrections": corrections.app,
        "trainings": trainings.app,
        "manifests": manifests.app,
        "models": models.app,
        "schedules": schedules.app,
    },
    SERVE: {"db": database.app},
    ACCOUNT: {"audit": audit.app, "keys": keys.app},
}

for panel, verbs in VERBS.items():
    for verb in verbs:
        app.command(rich_help_panel=panel)(verb)
    for name, group in GROUPS[panel].items():
        app.add_typer(group, name=name, rich_help_panel=panel)


@app.callback(invoke_without_command=True)
def nightshift(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Answer what concerns no verb."""
    if version:
        from importlib.metadata import version as version_of

        printing.say(f"nightshift {version_of('nightshift')}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()
