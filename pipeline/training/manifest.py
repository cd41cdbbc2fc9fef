"""The manifest: the list of cases a training learns from and is measured on.

A CSV file with the columns image, label (but for restorations), patient_id and, where wished,
split and the groups of a case (``groups``); or a MONAI datalist (JSON) whose cases carry a
patient_id. Paths are relative to the manifest, which is read as a whole: every fault is listed by
row before anything trains. Its frozen, hashed form is the snapshot.
"""

from __future__ import annotations

import csv
import enum
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.training import groups
from pipeline.training.dicom_labels import is_dicom
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.fields import SplitField
from pipeline.training.groups import Groups
from pipeline.training.recipe import Recipe

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".npy", ".png")
#: labels that are no DICOM, by kind; a class is a word in the manifest itself
LABEL_SUFFIXES: dict[str, tuple[str, ...]] = {
    "classification": (),
    "segmentation": (".nii", ".nii.gz", ".npy", ".png"),
    "detection": (".json",),
}


class Part(enum.StrEnum):
    """What a case is used for. One patient is in exactly one part."""

    TRAINING = "training"
    VALIDATION = "validation"
    HELD_OUT = "held-out"


_PART_WORDS = {
    "train": Part.TRAINING,
    "training": Part.TRAINING,
    "val": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "test": Part.HELD_OUT,
    "testing": Part.HELD_OUT,
    "held-out": Part.HELD_OUT,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row as written; paths are not resolved yet."""

    number: int
    image: str
    label: str
    patient_id: str
    split: str
    groups: Groups
    #: column of a group -> what is wrong with it
    group_faults: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case that may be used: an image, what is true of it, whose it is, what it is for."""

    row: int
    image: Path
    #: a class name, else the file or the folder that holds class, mask or boxes
    label: str | Path
    patient_id: str
    part: Part
    image_digest: str
    label_digest: str
    groups: Groups = ()

    @property
    def digest(self) -> str:
        """sha256 that names the content of the case wherever it lies."""
        return hashlib.sha256(f"{self.image_digest} {self.label_digest}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The cases a training uses, in a fixed order, and the digest that stands for all of them."""

    cases: tuple[Case, ...]
    digest: str

    def part(self, part: Part) -> tuple[Case, ...]:
        """Return the cases of one part."""
        return tuple(case for case in self.cases if case.part is part)


def freeze(path: Path, recipe: Recipe) -> Snapshot:
    """Read a manifest, check it as a whole, hash every file and split by patient.

    Raises:
        ManifestInvalid: with every fault that can be seen without decoding pixels.

    """
    faults: list[Fault] = []
    rows = _rows(path, recipe)
    cases = [case for row in rows if (case := _case(row, path.parent, recipe, faults))]
    if not faults:
        cases = _with_parts(rows, cases, recipe, faults)
        faults += _repeated(cases) + _patients_on_two_sides(cases) + _empty_parts(cases, recipe)
    if faults:
        raise ManifestInvalid(faults)
    return snapshot_of(cases)


def snapshot_of(cases: Sequence[Case]) -> Snapshot:
    """Return cases in the order of snapshots, and the digest that stands for all of them."""
    ordered = sorted(cases, key=lambda case: (case.part, case.patient_id, case.digest))
    stated = (
        (one.patient_id, one.image_digest, one.label_digest, one.part, *one.groups) for one in cases
    )
    lines = sorted(json.dumps(case) for case in stated)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Snapshot(cases=tuple(ordered), digest=digest)


def assign(patient_id: str, split: SplitField) -> Part:
    """Return the part of a patient: by hash, so that no patient moves as a manifest grows."""
    hashed = hashlib.sha256(f"nightshift split 1 {patient_id}".encode()).digest()
    position = int.from_bytes(hashed[:8], "big") / 2**64
    if position < split.held_out:
        return Part.HELD_OUT
    return Part.VALIDATION if position < split.held_out + split.validation else Part.TRAINING


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, or of all files of a folder whatever their names."""
    if path.is_dir():
        inside = sorted(file_digest(file) for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("\n".join(inside).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rows(path: Path, recipe: Recipe) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestInvalid([Fault(0, "manifest", "it cannot be read as text")]) from error
    rows = _datalist_rows(text) if path.suffix == ".json" else _csv_rows(text, recipe)
    if not rows:
        raise ManifestInvalid([Fault(0, "manifest", "it lists no case")])
    return rows


def _csv_rows(text: str, recipe: Recipe) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    columns = set(reader.fieldnames or ())
    needed = {"image", "label", "patient_id"} if recipe.labels else {"image", "patient_id"}
    missing = sorted(needed - columns)
    if missing:
        raise ManifestInvalid([Fault(0, column, "this column is missing") for column in missing])
    return [
        _row(number, fields, fields.get("split", "")) for number, fields in enumerate(reader, 1)
    ]


def _datalist_rows(text: str) -> list[Row]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ManifestInvalid([Fault(0, "manifest", "it is not valid JSON")]) from error
    sections = {}
    if isinstance(document, dict):
        sections = {word: document[word] for word in _PART_WORDS if document.get(word)}
    listed = [(word, case) for word, cases in sections.items() for case in cases]
    if any(not isinstance(case, dict) for _, case in listed):
        raise ManifestInvalid([Fault(0, "manifest", "every case of a datalist is an object")])
    # a datalist with nothing but training cases says nothing of the split
    states_split = any(_PART_WORDS[word] is not Part.TRAINING for word in sections)
    return [
        _row(number, case, word if states_split else "")
        for number, (word, case) in enumerate(listed, 1)
    ]


def _row(number: int, fields: Mapping[str, Any], split: str) -> Row:
    words = {name: str(fields.get(name) or "").strip() for name in ("image", "label", "patient_id")}
    found, faults = groups.read(fields)
    return Row(
        number=number, split=(split or "").strip(), groups=found, group_faults=faults, **words
    )


def _case(row: Row, folder: Path, recipe: Recipe, faults: list[Fault]) -> Case | None:
    """Resolve and hash the files of one row; faults are added to ``faults``."""
    before = len(faults)
    image = folder / row.image
    if not row.image or not image.exists():
        faults.append(Fault(row.number, "image", "there is no such file or folder"))
    elif image.is_file() and not row.image.lower().endswith(IMAGE_SUFFIXES):
        known = ", ".join(IMAGE_SUFFIXES)
        faults.append(Fault(row.number, "image", f"neither a DICOM folder nor one of {known}"))
    if not row.patient_id:
        faults.append(Fault(row.number, "patient_id", "it is empty; splits are made by patient"))
    if row.split and row.split.lower() not in _PART_WORDS:
        faults.append(Fault(row.number, "split", f"it is none of {', '.join(_PART_WORDS)}"))
    faults.extend(Fault(row.number, column, why) for column, why in row.group_faults.items())
    # a restoration learns from the images alone, whatever stands in the column
    label = _label(row, folder, recipe, faults) if recipe.labels else ""
    if len(faults) > before:
        return None
    return Case(
        row=row.number,
        image=image,
        label=label,
        patient_id=row.patient_id,
        part=_PART_WORDS.get(row.split.lower(), Part.TRAINING),
        image_digest=file_digest(image),
        label_digest=label if isinstance(label, str) else file_digest(label),
        groups=row.groups,
    )


def _label(row: Row, folder: Path, recipe: Recipe, faults: list[Fault]) -> str | Path:
    """Return the class of a row, or the file or the folder that holds its label."""
    names = [known.name for known in recipe.labels]
    if recipe.kind == "classification" and row.label in names:
        return row.label
    path = folder / row.label
    suffixes = LABEL_SUFFIXES[recipe.kind]
    is_there = bool(row.label) and path.exists()
    if is_there and (row.label.lower().endswith(suffixes) or is_dicom(path)):
        return path
    if recipe.kind == "classification":
        sentence = f"it is none of {', '.join(names)}, nor a DICOM report"
    elif is_there:
        sentence = f"it is neither DICOM nor one of {', '.join(suffixes)}"
    else:
        sentence = "there is no such file"
    faults.append(Fault(row.number, "label", sentence))
    return row.label


def _with_parts(
    rows: Sequence[Row], cases: Sequence[Case], recipe: Recipe, faults: list[Fault]
) -> list[Case]:
    """Split by patient where the manifest does not; refuse a split that is stated by halves."""
    unstated = [row.number for row in rows if not row.split]
    if not unstated:
        return list(cases)
    if len(unstated) < len(rows):
        sentence = "it is empty, while other rows state one"
        faults.extend(Fault(number, "split", sentence) for number in unstated)
        return list(cases)
    return [replace(case, part=assign(case.patient_id, recipe.split)) for case in cases]


def _repeated(cases: Sequence[Case]) -> list[Fault]:
    first: dict[str, int] = {}
    for case in cases:
        first.setdefault(case.image_digest, case.row)
    return [
        Fault(case.row, "image", f"the same image as row {first[case.image_digest]}")
        for case in cases
        if first[case.image_digest] != case.row
    ]


def _patients_on_two_sides(cases: Sequence[Case]) -> list[Fault]:
    parts: dict[str, set[Part]] = {}
    for case in cases:
        parts.setdefault(case.patient_id, set()).add(case.part)
    sentence = "this patient is in more than one part"
    return [Fault(case.row, "split", sentence) for case in cases if len(parts[case.patient_id]) > 1]


def _empty_parts(cases: Sequence[Case], recipe: Recipe) -> list[Fault]:
    counts = Counter(case.part for case in cases)
    needed = {Part.TRAINING, Part.HELD_OUT}
    if recipe.early_stopping is not None:
        needed.add(Part.VALIDATION)
    sentence = "no patient is in the {} part; add patients or a split column"
    missing = [part for part in sorted(needed) if not counts.get(part)]
    return [Fault(0, "split", sentence.format(part)) for part in missing]
