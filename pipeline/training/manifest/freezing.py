"""From rows to a snapshot: every file found and hashed, every patient on one side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.training import pictures, videos
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import labels, parts, rows
from pipeline.training.manifest.cases import (
    Case,
    Part,
    Snapshot,
    content_digest,
    is_there,
    snapshot_of,
)
from pipeline.training.manifest.rows import Row
from pipeline.training.recipe import Recipe

IMAGE_SUFFIXES: Final = (
    *(".nii", ".nii.gz", ".nrrd", ".npy"),
    *pictures.SUFFIXES,
    *videos.SUFFIXES,
)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A manifest as far as it can be judged without decoding pixels."""

    #: whose files are all there
    cases: tuple[Case, ...]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def freeze(path: Path, recipe: Recipe) -> Snapshot:
    """Read a manifest, check it as a whole, hash every file and split by patient.

    Raises:
        ManifestInvalid: with every fault that can be seen without decoding pixels.

    """
    looked = look(path, recipe)
    if looked.faults:
        raise ManifestInvalid(looked.faults)
    return snapshot_of(looked.cases, looked.warnings)


def look(path: Path, recipe: Recipe) -> Looked:
    """Read a manifest as ``freeze`` does, and return its faults beside what has none.

    Raises:
        ManifestInvalid: it cannot be read at all.

    """
    listed, warnings = parts.settled(rows.read(path, recipe), recipe)
    faults = parts.half_stated(listed)
    cases = [case for row in listed if (case := _case(row, path.parent, recipe, faults))]
    if not parts.are_stated(listed):
        cases, left_out = parts.divided(cases, recipe)
        warnings += left_out
    faults += _repeated(cases)
    if not faults:
        faults += [*parts.faults(cases, recipe), *_empty_classes(cases, recipe)]
    return Looked(
        cases=tuple(cases),
        faults=tuple(sorted(faults)),
        warnings=tuple(sorted([*warnings, *_oddities(cases)])),
    )


def _case(row: Row, folder: Path, recipe: Recipe, faults: list[Fault]) -> Case | None:
    """Resolve and hash the files of one row; faults are added to ``faults``."""
    found = list(row.faults)
    first, *beside = images = [folder / name if name else None for name in row.images]
    if not found:
        found += _image_faults(row, images, recipe)
    if not row.patient_id:
        found.append(Fault(row.number, "patient_id", "it is empty; splits are made by patient"))
    part = row.stated_part
    if row.split and part is None:
        found.append(
            Fault(row.number, "split", f"it is none of {', '.join([*rows.PARTS, rows.ADDED])}")
        )
    if part is Part.UNLABELLED and not recipe.learns_from_unlabelled:
        found.append(Fault(row.number, "split", "this recipe learns nothing without labels"))
    label: str | Path = ""
    # what is learnt from the images alone has no label, whatever stands in the column
    if recipe.labels and part is not Part.UNLABELLED and not row.faults:
        try:
            label = labels.find(row, folder, recipe)
        except labels.NoLabel as refused:
            found.append(Fault(row.number, "label", str(refused)))
    image_digest, label_digest = _digests(row, images, label, found)
    faults.extend(found)
    if found or first is None:
        return None
    return Case(
        row=row.number,
        image=first,
        beside=tuple(beside),
        label=label,
        patient_id=row.patient_id,
        part=part or Part.TRAINING,
        image_digest=image_digest,
        label_digest=label_digest,
        groups=row.groups,
        values=row.values,
    )


def _digests(
    row: Row, images: Sequence[Path | None], label: str | Path, found: list[Fault]
) -> tuple[str, str]:
    """Hash the files of a row without faults; one that cannot be read is added to them."""
    if not found:
        try:
            told = label if isinstance(label, str) else content_digest([label])
            return content_digest(images), told
        except OSError:
            found.append(Fault(row.number, "row", "a file of it cannot be read"))
    return "", ""


def _image_faults(row: Row, images: Sequence[Path | None], recipe: Recipe) -> Iterator[Fault]:
    if fault := _wrong_count(len(images), recipe):
        yield Fault(row.number, "image", fault)
    for place, path in enumerate(images, 1):
        column = "image" if place == 1 else f"image{place}"
        if path is None and place == 1:
            sentence = "the label has no image" if row.label else "there is no such file or folder"
            yield Fault(row.number, column, sentence)
        elif path is not None and not is_there(path):
            yield Fault(row.number, column, "there is no such file or folder")
        elif path is not None and not path.is_dir() and not _is_known(path):
            known = ", ".join(IMAGE_SUFFIXES)
            yield Fault(row.number, column, f"neither a DICOM folder nor one of {known}")


def _is_known(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def _wrong_count(count: int, recipe: Recipe) -> str | None:
    """Say what is wrong with the number of images of a case; None = nothing."""
    wanted = recipe.input
    if wanted.images:
        least = max(wanted.images) + 1
        return f"the recipe takes image {least}, there are {count}" if count < least else None
    takes = wanted.channels if wanted.spatial_dims == 3 else 1
    return f"the recipe takes {takes} images, there are {count}" if count != takes else None


def _repeated(cases: Sequence[Case]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for case in cases:
        first.setdefault(case.image_digest, case.row)
        if first[case.image_digest] != case.row:
            sentence = f"the same image as row {first[case.image_digest]}"
            yield Fault(case.row, "image", sentence)


def _empty_classes(cases: Sequence[Case], recipe: Recipe) -> Iterator[Fault]:
    """Yield the classes that nothing can be learnt of, where all labels are words."""
    learnt = [case.label for case in cases if case.part is Part.TRAINING]
    stated = [label for label in learnt if isinstance(label, str)]
    if recipe.kind != "classification" or not stated or len(stated) < len(learnt):
        return
    for name in labels.empty_classes(stated, recipe):
        yield Fault(0, "label", f"no case of the training part is {name}")


def _oddities(cases: Sequence[Case]) -> Iterator[Fault]:
    """Yield what does not stand in the way of a training but should be known of its product."""
    sites = {dict(case.groups).get("site") for case in cases}
    if len(sites) == 1 and None not in sites:
        sentence = "all cases are of one site: how good the model is elsewhere, nobody knows"
        yield Fault(0, "site", sentence)
    judged = {case.patient_id for case in cases if case.part is Part.HELD_OUT}
    if len(judged) == 1:
        sentence = "one patient is held out: no number will have an interval"
        yield Fault(0, "split", sentence)
