"""A manifest and cases that came later, as one manifest."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training.dicom_labels import is_dicom
from pipeline.training.manifest.cases import is_there
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
        OSError: a folder of labels cannot be read.

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
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused() from error
    if not {"image", "patient_id"} <= set(columns) or any(None in row for row in rows):
        raise _refused()
    classes = _classes(rows, base.parent)
    return columns, [_absolute(row, base.parent, classes) for row in rows]


def _classes(rows: Sequence[dict[str, str]], folder: Path) -> frozenset[str]:
    """Return the labels that are the names of folders in which images lie.

    In a folder that is itself a label there is nothing but labels.
    """
    return frozenset(
        label
        for row in rows
        if (label := row.get("label")) and folder / label in (folder / row["image"]).parents
    )


def _absolute(row: dict[str, str], folder: Path, classes: frozenset[str]) -> dict[str, str]:
    """Return a row that means the same wherever it stands."""
    return {
        column: str(folder.resolve() / value) if _is_path(column, value, folder, classes) else value
        for column, value in row.items()
    }


def _is_path(column: str, value: str, folder: Path, classes: frozenset[str]) -> bool:
    """Whether a cell names a file or a folder; a label may as well be a class."""
    if not value:
        return False
    if column == "label":
        return value not in classes and _is_label(folder / value)
    return column.rstrip("0123456789") == "image"


def _is_label(path: Path) -> bool:
    """Whether there is a file, or a folder of DICOM; other folders are no labels."""
    return is_there(path) and (path.is_file() or is_dicom(path))


def _refused() -> TrainingRefused:
    sentence = "corrections join a CSV manifest with the columns image and patient_id"
    return TrainingRefused(sentence, Reason.TRAINING_MANIFEST_INVALID)
