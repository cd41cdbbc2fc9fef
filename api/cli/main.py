"""The console script ``nightshift``, and how every verb of it ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli import printing
from api.cli.outcome import ExitCode, Problem
from api.cli.verbs import Verbs


class Door(TyperGroup):
    """The outermost group: turns a Problem into its sentence and its exit code."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**(settings | {"commands": Verbs()}))

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
