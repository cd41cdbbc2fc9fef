"""The rows of a manifest as they are written, before any file is looked for.

A CSV file has the columns ``image``, ``label`` (but for restorations), ``patient_id`` and, where
wished, ``image2``, ``image3`` ..., ``split``, the groups of a case (``groups``) and the values of
its patient (``values``). Of a classification a column of 0 and 1 for each class may stand in place
of ``label``. A MONAI datalist (JSON) has the same names in the objects of its sections; ``image``
and ``label`` may be lists there.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.training import groups
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.groups import Groups
from pipeline.training.manifest import values
from pipeline.training.manifest.cases import Part, Value
from pipeline.training.recipe import Recipe

PARTS: Final[Mapping[str, Part]] = {
    "train": Part.TRAINING,
    "training": Part.TRAINING,
    "val": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "test": Part.HELD_OUT,
    "testing": Part.HELD_OUT,
    "held-out": Part.HELD_OUT,
    "unlabelled": Part.UNLABELLED,
}
#: in place of a part: a case that came after the patients were split
ADDED: Final = "added"
#: what stands between the classes of a case that has several
BETWEEN: Final = "|"
#: the label of a case that none of several classes is true of
NONE: Final = "-"
_MORE_IMAGES: Final = re.compile(r"image([2-9]|1[0-6])")
#: what a spreadsheet would take for a formula; a signed number is none
_FORMULA: Final = re.compile(r"[=@].*|[+-](?!\d+(\.\d+)?$).+")
_LONGEST_NAME: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row as written; paths are not resolved yet."""

    number: int
    #: "" for one that is missing
    images: tuple[str, ...]
    label: str
    patient_id: str
    split: str
    groups: Groups = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    #: what is wrong with the words of the row
    faults: tuple[Fault, ...] = ()

    @property
    def stated_part(self) -> Part | None:
        """The part that the row states, if it states one."""
        return PARTS.get(self.split.lower())

    @property
    def is_added(self) -> bool:
        """Whether the case came after the patients were split."""
        return self.split.lower() == ADDED


def read(path: Path, recipe: Recipe) -> list[Row]:
    """Read the rows of a CSV file or a MONAI datalist.

    Raises:
        ManifestInvalid: it is neither, a column is missing or stands there twice, or it is empty.

    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _whole("it cannot be read as text") from error
    listed = _datalist(text) if path.suffix == ".json" else _csv(text, recipe)
    rows = [_row(number, fields, recipe) for number, fields in enumerate(listed, 1)]
    if not rows:
        raise _whole("it lists no case")
    return rows


def _csv(text: str, recipe: Recipe) -> list[Mapping[Any, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    try:
        columns = list(reader.fieldnames or ())
        listed = list(reader)
    except csv.Error as error:
        raise _whole("it is not valid CSV") from error
    needed = {"image", "patient_id"} | (set() if _classes_in(columns, recipe) else {"label"})
    if not recipe.labels:
        needed.discard("label")
    faults = [Fault(0, column, "this column is missing") for column in needed - set(columns)]
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    faults += [Fault(0, _shown(column), "this column stands there twice") for column in repeated]
    if faults:
        raise ManifestInvalid(faults)
    return list(listed)


def _datalist(text: str) -> list[Mapping[Any, Any]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _whole("it is not valid JSON") from error
    sections = {}
    if isinstance(document, dict):
        sections = {word: document[word] for word in PARTS if document.get(word)}
    if any(not isinstance(cases, list) for cases in sections.values()):
        raise _whole("every section of a datalist is a list")
    listed = [(word, case) for word, cases in sections.items() for case in cases]
    if any(not isinstance(case, dict) for _, case in listed):
        raise _whole("every case of a datalist is an object")
    # a datalist with nothing to choose by and to judge on says nothing of the split
    is_split = any(PARTS[word] not in (Part.TRAINING, Part.UNLABELLED) for word in sections)
    return [
        {**case, "split": word if is_split or PARTS[word] is Part.UNLABELLED else ""}
        for word, case in listed
    ]


def _row(number: int, fields: Mapping[Any, Any], recipe: Recipe) -> Row:
    found, group_faults = groups.read(fields)
    known, value_faults = values.read(fields)
    images, label = _images(fields), _label(fields, recipe)
    patient_id, split = (_word(fields.get(name)) for name in ("patient_id", "split"))
    wrong = [*group_faults.items(), *value_faults.items()]
    if None in fields:  # where csv puts what has no column
        wrong.append(("row", "it has more cells than there are columns"))
    names = {"image": images, "label": (label,), "patient_id": (patient_id,), "split": (split,)}
    names |= {attribute: (name,) for attribute, name in found}
    wrong += [(column, why) for column, words in names.items() if (why := _unsafe(words))]
    return Row(
        number=number,
        images=images,
        label=label,
        patient_id=patient_id,
        split=split,
        groups=found,
        values=known,
        faults=tuple(Fault(number, column, why) for column, why in dict(wrong).items()),
    )


def _images(fields: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return the names of the images in their order; of one that is missing it is empty."""
    stated = fields.get("image")
    if isinstance(stated, list):
        return tuple(_word(name) for name in stated) or ("",)
    more = sorted(
        (int(found[1]), _word(fields[column]))
        for column in fields
        if isinstance(column, str) and (found := _MORE_IMAGES.fullmatch(column))
    )
    return (_word(stated), *(name for _, name in more))


def _label(fields: Mapping[Any, Any], recipe: Recipe) -> str:
    """Return the label as one word, however many cells it stands in.

    Rows that were added later state theirs in ``label`` beside those with a column for each class.
    """
    stated = fields.get("label")
    if isinstance(stated, list):
        return BETWEEN.join(_word(name) for name in stated) or NONE
    classes = _classes_in(list(fields), recipe)
    if _word(stated) or not classes:
        return _word(stated)
    cells = {name: _word(fields[name]) for name in classes}
    if not set(cells.values()) <= {"0", "1"}:
        return ""
    return BETWEEN.join(name for name, cell in cells.items() if cell == "1") or NONE


def _classes_in(columns: Sequence[Any], recipe: Recipe) -> list[str]:
    """Return the classes of the recipe if each of them is a column, else none."""
    names = [label.name for label in recipe.labels]
    is_asked = recipe.kind == "classification" and set(names) <= set(columns)
    return names if is_asked else []


def _word(stated: object) -> str:
    return "" if stated is None else str(stated).strip()


def _unsafe(words: Sequence[str]) -> str | None:
    """Say why a name is refused wherever it came from; None = it is not.

    Names are handed to no shell. But what is told of a training ends up in tables, and a table
    that is opened in a spreadsheet runs what looks like a formula.
    """
    for word in words:
        if len(word) > _LONGEST_NAME or not word.isprintable():
            return "it is too long or not printable"
        if _FORMULA.fullmatch(word):
            return "it begins like the formula of a spreadsheet"
    return None


def _shown(column: str | None) -> str:
    """Return the name of a column as messages may state it."""
    return column if column in _KNOWN else "column"


def _whole(sentence: str) -> ManifestInvalid:
    return ManifestInvalid([Fault(0, "manifest", sentence)])


_KNOWN: Final = ("image", "label", "patient_id", "split", *groups.COLUMNS, *values.COLUMNS)
