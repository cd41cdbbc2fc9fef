"""``nightshift train`` and ``trainings``: asked for, listed, paused, resumed, canceled."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli import printing
from api.cli.context import Records, load_settings, open_records, operator
from api.cli.epochs import headline
from api.cli.following import follow, found, read
from api.cli.naming import collect, training_id
from api.cli.outcome import ExitCode, Problem, sentence_of
from api.cli.printing import AsJson, Column, Limit
from api.cli.recipes import manifest_path, read_recipe
from api.cli.training_here import begin, train_here

if TYPE_CHECKING:
    from records.base import TrainingStatus
    from records.listing import TrainingDetail, TrainingSummary
    from worker.queue.settings import Settings


class OneOrAll(TyperGroup):
    """``trainings`` lists them all, ``trainings ID`` shows one, ``trainings VERB ID`` does."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # Typer keeps these types private
        """Take a word that is no verb for the id of a training to show."""
        is_verb = args[0] in self.commands
        return super().resolve_command(ctx, args if is_verb else ["show", *args])


app = typer.Typer(
    cls=OneOrAll, invoke_without_command=True, help="List the trainings; show, pause, resume one."
)
TrainingName = Annotated[
    str, typer.Argument(metavar="TRAINING", help="Its id, or the first characters of it.")
]

COLUMNS = (
    Column("Training", "short"),
    Column("Status", "status"),
    Column("Product", "product"),
    Column("Epoch", "epoch"),
    Column("Metrics", "metrics", folds=True),
    Column("Asked", "created_at"),
    Column("By", "created_by"),
    Column("Why", "why", folds=True),
)


def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped model.")],
    *,
    manifest: Annotated[Path, typer.Option("--manifest", help="The list of training cases.")],
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it has ended.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key makes one training only.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model. Its product is a candidate with a gate; `models promote` makes it active.

    Goes to the running services. Where none run, this command trains by itself and stays. The
    same command given again goes on where such a one was cut off or paused.
    """
    from records.trainings import NewTraining

    settings = load_settings()
    wish = NewTraining(
        recipe=read_recipe(recipe),
        manifest=manifest_path(manifest),
        idempotency_key=idempotency_key,
    )
    with open_records(settings) as records:
        if _has_services(settings):
            which = begin(records, wish)
            if wait:
                follow(records, which)
        else:
            which, wait = train_here(records, wish), True
        ended = read(records, which)
    _say(ended, as_json=as_json)
    if wait and ended.status.value != "succeeded":
        raise typer.Exit(ExitCode.PROGRAM_FAILED)


@app.callback()
def trainings(ctx: typer.Context, *, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the trainings; `trainings TRAINING` shows one."""
    from records import listing
    from records.database import reading

    if ctx.invoked_subcommand is not None:
        return
    with open_records() as records, reading(records.sessions) as session:
        listed = collect(
            lambda size, cursor: listing.trainings(session, limit=size, cursor=cursor), limit
        )
    rows = [vars(each) if as_json else _row(each) for each in listed]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="Nothing was trained yet.")


@app.command()
def show(training: TrainingName, *, as_json: AsJson = False) -> None:
    """Show one training."""
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        _say(found(session, training_id(session, training)), as_json=as_json)


@app.command()
def pause(training: TrainingName) -> None:
    """Let go of the device; the checkpoint is kept."""
    from records import training_requests

    with open_records() as records:
        _ask(records, training, training_requests.pause, "to be paused")


@app.command()
def resume(training: TrainingName) -> None:
    """Go on from the checkpoint, on whichever trainer is free."""
    from records import training_requests

    with open_records() as records:
        which = _ask(records, training, training_requests.resume, "to go on")
        _find_trainer(records, which)


@app.command()
def cancel(training: TrainingName) -> None:
    """End a training without a product."""
    from records import training_requests

    with open_records() as records:
        _ask(records, training, training_requests.cancel, "to be canceled")


def _ask(
    records: Records, name: str, request: Callable[..., TrainingStatus], wish: str
) -> uuid.UUID:
    """Ask something of one training, and say what it is then."""
    from records.database import unit_of_work
    from records.transitions import IllegalTransition

    with unit_of_work(records.sessions) as session:
        which = training_id(session, name)
        try:
            status = request(session, which, by=operator())
        except IllegalTransition as refused:
            raise Problem(sentence_of(refused), ExitCode.USAGE) from refused
    printing.say(f"Training {which} was asked {wish}: {status.value}.")
    return which


def _find_trainer(records: Records, which: uuid.UUID) -> None:
    """Bring a training whose own trainer is gone to those of the running services, if any."""
    from records import adoption, trainings
    from records.database import unit_of_work

    with unit_of_work(records.sessions) as session:
        if trainings.get(session, which).lane == adoption.SHARED:
            return
        if _has_services(records.settings):
            adoption.adopt_training(session, which, lane=adoption.SHARED, by=operator())
            return
    printing.note("Where its own `nightshift train` command has ended, give it again to go on.")


def _has_services(settings: Settings) -> bool:
    """Say whether services run, or may run elsewhere, that carry out what is asked for."""
    from worker.queue.embedded import is_up

    return settings.broker_url is not None or is_up(settings)


def _row(training: TrainingSummary) -> dict[str, Any]:
    """Return what a listing shows of a training."""
    from api.cli.jobs import why

    epoch, epochs = training.progress.get("epoch"), training.progress.get("epochs")
    product = f"{training.model} {training.model_version}" if training.model else None
    return {
        **vars(training),
        "short": str(training.id)[:8],
        "status": training.status.value,
        "product": product,
        "epoch": f"{epoch} of {epochs}" if epoch is not None else None,
        "metrics": headline(training.metrics) or None,
        "why": why(training.reason, training.detail) or None,
    }


def _say(training: TrainingDetail, *, as_json: bool) -> None:
    """Print one training."""
    if as_json:
        printing.say_json(vars(training))
        return
    row = _row(training)
    printing.say(f"Training {training.id}: {row['status']}")
    for heading in ("manifest", "epoch", "product", "metrics", "why"):
        if row[heading]:
            printing.say(f"  {heading:<10} {printing.show(row[heading])}")
    if training.model:
        product = f"{training.model} {training.model_version}"
        printing.say(f"`nightshift models gate {product}` says whether it may become active;")
        printing.say(f"`nightshift models promote {product} --why ...` makes it so.")
