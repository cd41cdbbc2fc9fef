"""A manifest and cases that came later, as one manifest."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training.manifest.cases import Part
from pipeline.training.manifest.rows import PARTS

_COLUMNS: Final = ("image", "label", "patient_id")


def joined(base: Path | None, added: Sequence[Mapping[str, str]]) -> str:
    """Return the CSV text of the rows of ``base`` with absolute paths, and the rows of ``added``.

    Where the base states parts, a later case goes where its patient is, else to the training
    part: nobody changes sides, and what was held out stays as it was. It has a label, so of a
    patient whose cases had none it is trained on.

    Args:
        base: a manifest; None = there is none.
        added: image, label and patient_id of each case, with absolute paths.

    Raises:
        TrainingRefused: the base is no CSV file.

    """
    columns, rows = ([], []) if base is None else _read(base)
    columns = list(dict.fromkeys([*columns, *_COLUMNS]))
    parts = {
        row["patient_id"]: row["split"]
        for row in rows
        if row.get("split") and PARTS.get(row["split"].strip().lower()) is not Part.UNLABELLED
    }
    is_split = bool(parts)
    later = [
        {**row, "split": parts.get(row["patient_id"], "train")} if is_split else row
        for row in added
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows([*rows, *later])
    return text.getvalue()


def _read(base: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with base.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = list(reader.fieldnames or ())
            rows = [_absolute(row, base.parent) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused() from error
    if not {"image", "patient_id"} <= set(columns) or any(None in row for row in rows):
        raise _refused()
    return columns, rows


def _absolute(row: dict[str, str], folder: Path) -> dict[str, str]:
    """Return a row that means the same wherever it stands."""
    return {
        column: str(folder.resolve() / value) if _is_path(column, value, folder) else value
        for column, value in row.items()
    }


def _is_path(column: str | None, value: str, folder: Path) -> bool:
    """Whether a cell names a file; a label may as well be a class."""
    if not value or column is None:
        return False
    is_image = column.rstrip("0123456789") == "image"
    return is_image or (column == "label" and (folder / value).exists())


def _refused() -> TrainingRefused:
    sentence = "corrections join a CSV manifest with the columns image and patient_id"
    return TrainingRefused(sentence, Reason.TRAINING_MANIFEST_INVALID)
