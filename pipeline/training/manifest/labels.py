"""What a row says is true of its images: classes, or the file that holds the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.training.dicom_labels import is_dicom
from pipeline.training.manifest.cases import is_there
from pipeline.training.manifest.rows import BETWEEN, NONE, Row
from pipeline.training.recipe import Recipe

_MASKS: Final = (".nii", ".nii.gz", ".nrrd", ".npy", ".png", ".tif", ".tiff")
#: labels that are no DICOM, by kind; a class is a word in the manifest itself
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "classification": (),
    "segmentation": _MASKS,
    "detection": (".json", ".xml"),
}


class NoLabel(ValueError):
    """The label of a row is missing or not what the recipe asks for."""


def find(row: Row, folder: Path, recipe: Recipe) -> str | Path:
    """Return the classes of a row as the recipe numbers them, or the file or folder of its label.

    Raises:
        NoLabel: says why in a sentence without the label.

    """
    if not row.label:
        raise NoLabel("the image has no label")
    if recipe.kind == "classification" and (classes := _classes(row.label, recipe)) is not None:
        return classes
    path, suffixes = folder / row.label, SUFFIXES[recipe.kind]
    is_found = is_there(path)
    try:
        if is_found and (row.label.lower().endswith(suffixes) or is_dicom(path)):
            return path
    except OSError as error:
        raise NoLabel("the file cannot be read") from error
    if recipe.kind == "classification":
        names = ", ".join(label.name for label in recipe.labels)
        raise NoLabel(f"it is none of {names}, nor a DICOM report")
    if is_found:
        raise NoLabel(f"it is neither DICOM nor one of {', '.join(suffixes)}")
    raise NoLabel("there is no such file")


def classes_of(label: str) -> tuple[str, ...]:
    """Return the classes that the label of a case with any number of them joins."""
    return () if label == NONE else tuple(label.split(BETWEEN))


def _classes(word: str, recipe: Recipe) -> str | None:
    """Return the class, or the classes in the recipe's order; None where one is unknown."""
    names = [label.name for label in recipe.labels]
    if word in names and not recipe.takes_several_labels:
        return word
    if word == NONE and recipe.takes_several_labels:
        return NONE
    stated = [name.strip() for name in word.split(BETWEEN)]
    if not set(stated) <= set(names):
        return None
    if len(set(stated)) > 1 and not recipe.takes_several_labels:
        raise NoLabel("it names several classes; that needs options.activation: sigmoid")
    return BETWEEN.join(sorted(set(stated), key=names.index))


def empty_classes(labels: Sequence[str], recipe: Recipe) -> list[str]:
    """Return the classes of the recipe that no label names."""
    found = {name for label in labels for name in classes_of(label)}
    return [label.name for label in recipe.labels if label.name not in found]
