"""``nightshift correct`` and ``corrections``: what readers say of answers, and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.children import ask
from api.cli.context import load_settings, open_records, operator
from api.cli.naming import JobName, job_id
from api.cli.outcome import ExitCode, Problem, sentence_of
from api.cli.printing import AsJson, Column

if TYPE_CHECKING:
    from records.corrections import Verdict

app = typer.Typer(no_args_is_help=True, help="What readers said, and the cases that come of it.")

AnalysisName = Annotated[str, typer.Option("--analysis", help="Name of an analysis.")]
UNCERTAIN = (
    Column("Job", "job"),
    Column("Step", "step"),
    Column("Series", "series"),
    Column("Entropy (bit)", "entropy", align_right=True),
    Column("From", "source"),
)
SAID = (
    Column("Correction", "id"),
    Column("Step", "step"),
    Column("Series", "series"),
    Column("Verdict", "verdict"),
    Column("Label", "label"),
    Column("By", "created_by"),
    Column("At", "created_at"),
)


def correct(  # noqa: PLR0913 - these are the words of the command
    job: JobName,
    verdict: Annotated[str, typer.Argument(help="`accept`, `reject` or `replace`.")],
    *,
    step: Annotated[str, typer.Option("--step", help="The step whose answer it is.")],
    series: Annotated[
        str | None, typer.Option("--series", help="Its UID, where the job has several.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="The right class.")] = None,
    boxes: Annotated[
        Path | None, typer.Option("--boxes", help="The right boxes: JSON, as in manifests.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="The right mask: DICOM SEG or .nii.gz.")
    ] = None,
) -> None:
    """Say of the answer of a step: accept it, reject it, or replace it by what is right."""
    from records import corrections
    from records.database import unit_of_work

    try:
        with open_records() as records, unit_of_work(records.sessions) as session:
            new = corrections.NewCorrection(
                job_id=job_id(session, job),
                step=step,
                verdict=_verdict(verdict),
                series_instance_uid=series,
                label=label,
                boxes=None if boxes is None else _boxes(boxes),
                mask=None if mask is None else mask.read_bytes(),
            )
            kept = corrections.add(session, new, by=operator())
            printing.say(f"Correction {kept.id} is kept.")
    except corrections.CorrectionRefused as refused:
        raise Problem(sentence_of(refused), ExitCode.USAGE) from refused
    except OSError as unreadable:
        message = f"The file cannot be read: {unreadable.strerror}."
        raise Problem(message, ExitCode.USAGE) from unreadable


@app.command("list")
def list_corrections(job: JobName, *, as_json: AsJson = False) -> None:
    """List what was said of a job, oldest first."""
    from records import corrections, listing
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        found = corrections.of_job(session, job_id(session, job))
        rows = [vars(listing.correction_row(row)) for row in found]
    printing.listing(rows, SAID, as_json=as_json, empty="Nothing was said of this job.")


@app.command()
def uncertain(
    analysis: AnalysisName,
    *,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the answers that a model was least sure of: what to label next."""
    from records.database import reading
    from records.uncertain import uncertain as least_sure

    with open_records() as records, reading(records.sessions) as session:
        rows = [vars(case) for case in least_sure(session, analysis, most=most)]
    printing.listing(rows, UNCERTAIN, as_json=as_json, empty="No answer says how sure it is.")


@app.command()
def export(
    analysis: AnalysisName,
    *,
    model: Annotated[str, typer.Option("--model", help="Whose answers were corrected.")],
    out: Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.")],
) -> None:
    """Write the corrected cases, images and labels, with their manifest.csv.

    Patients are named as in the images.
    """
    if out.exists():
        message = f"{out} exists already."
        raise Problem(message, ExitCode.USAGE)
    words = ["export-corrections", f"--analysis={analysis}", f"--model={model}", str(out)]
    answer = ask(load_settings(), words)
    if answer.status:
        raise Problem(answer.sentence, ExitCode(answer.status))
    printing.say(answer.said.strip())


def _verdict(word: str) -> Verdict:
    from records.corrections import Verdict

    try:
        return Verdict(word)
    except ValueError as wrong:
        message = f"{word!r} is none of {', '.join(Verdict)}."
        raise Problem(message, ExitCode.USAGE) from wrong


def _boxes(path: Path) -> list[dict[str, Any]]:
    """Return the boxes of a file of the form that manifests name."""
    try:
        document = json.loads(path.read_bytes())
        boxes = document["boxes"]
        return [dict(box) for box in boxes]
    except (ValueError, KeyError, TypeError) as wrong:
        message = 'Boxes are JSON: {"boxes": [{"label": ..., "centre": [...], "size": [...]}]}'
        raise Problem(message, ExitCode.USAGE) from wrong
