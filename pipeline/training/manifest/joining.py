"""A manifest and cases that came later, as one manifest."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training.manifest.rows import ADDED

_COLUMNS: Final = ("image", "label", "patient_id")


def joined(base: Path | None, added: Sequence[Mapping[str, str]]) -> str:
    """Return the CSV text of the rows of ``base`` with absolute paths, and the rows of ``added``.

    Later cases are marked as added, so that no patient changes sides and what was held out stays
    as it was. Without a base they are a manifest like any other.

    Args:
        base: a manifest; None = there is none.
        added: image, label and patient_id of each case, as they stand in the manifest it becomes.

    Raises:
        TrainingRefused: the base is no CSV file.

    """
    columns, rows = ([], []) if base is None else _read(base)
    mark = {} if base is None else {"split": ADDED}
    later = [{**row, **mark} for row in added]
    columns = list(dict.fromkeys([*columns, *_COLUMNS, *mark]))
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
