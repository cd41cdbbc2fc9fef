"""Automatic recipes: ``auto: classification`` and what is known, and the cases decide the rest.

What comes of it is an ordinary recipe, which is what is trained by, kept and shown. The rules of
each kind lie in rooms of their own (``planning_classification``, ``planning_segmentation``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from pipeline.errors import StudyRejected, TrainingRefused
from pipeline.evaluation.rule import Rule
from pipeline.reasons import Reason
from pipeline.training import (
    pictures,
    planning_classification,
    planning_segmentation,
    reading,
    recipe,
)
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.fields import (
    EvaluationField,
    LabelField,
    SnapshotField,
    SplitField,
    Strict,
)
from pipeline.training.manifest import Case, Part, freeze
from pipeline.training.manifest.labels import classes_of
from pipeline.training.manifest.rows import NONE
from pipeline.training.manifest.rows import read as read_rows
from pipeline.training.planning_classification import Budget
from pipeline.training.planning_segmentation import Seen
from pipeline.training.recipe import Recipe
from pipeline.volume import Input, Volume

#: cases of the training part that are looked at, evenly taken
_LOOKED_AT: Final = 48
#: of a CT, percentiles of its values become the window, in steps of so many HU
_WINDOW_PERCENTILES, _WINDOW_STEP = (0.5, 99.5), 50.0
_LOSS: Final[Mapping[str, str]] = {
    "classification": "cross-entropy",
    "segmentation": "dice-cross-entropy",
}
#: what is said of a model, not decided by its cases
_SAID: Final = ("name", "version", "title", "seed", "licence", "demonstration")


class Auto(Strict):
    """What an automatic recipe states; fields that a recipe has too mean the same."""

    #: the kind of model
    auto: Literal["classification", "segmentation"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    version: int = Field(default=1, ge=0)
    title: str = Field(max_length=120)
    modalities: tuple[str, ...] = Field(min_length=1)
    #: of a classification none = the words that the manifest has, in their order
    labels: tuple[LabelField, ...] = ()
    #: that the training may take, about
    minutes: float = Field(default=60.0, gt=0, le=100_000)
    split: SplitField = SplitField()
    snapshot: SnapshotField = SnapshotField()
    evaluation: EvaluationField = EvaluationField()
    gate: Rule | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)
    licence: str = "unstated"
    description: str = ""
    demonstration: bool = False


def is_auto(document: object) -> bool:
    """Say whether a document asks for a recipe that its cases decide."""
    return isinstance(document, Mapping) and "auto" in document


def plan(document: object, manifest: Path, *, cores: int, memory: int, has_gpu: bool) -> Recipe:
    """Look at the cases and return the recipe for them.

    Args:
        document: see ``Auto``.
        manifest: of the cases.
        cores: that the training has.
        memory: bytes that a step of learning may use.
        has_gpu: whether it learns on one.

    Raises:
        TrainingRefused: the document says what it should not.
        ManifestInvalid: with every fault, those of images that were looked at among them.

    """
    try:
        asked = Auto.model_validate(document)
    except ValidationError as error:
        raise TrainingRefused(recipe.in_words(error), Reason.TRAINING_RECIPE_INVALID) from error
    budget = Budget(minutes=asked.minutes, cores=cores, memory=memory, has_gpu=has_gpu)
    several, labels = _labels(asked, manifest)
    provisional = _provisional(asked, labels, several=several)
    cases = freeze(manifest, provisional).part(Part.TRAINING)
    images = _look(cases, asked)
    fields = _decided(asked, labels, cases, images, budget, several=several)
    return recipe.check(fields | _said(asked, labels, len(images)))


def _labels(asked: Auto, manifest: Path) -> tuple[bool, tuple[LabelField, ...]]:
    """Return whether cases have any number of classes, and the labels."""
    if asked.auto != "classification":
        return False, asked.labels
    first = LabelField(number=0, name="?")
    words = {row.label for row in read_rows(manifest, _provisional(asked, (first,), several=False))}
    several = any(word == NONE or len(classes_of(word)) > 1 for word in words)
    names = sorted({name for word in words if word for name in classes_of(word)})
    found = tuple(LabelField(number=number, name=name) for number, name in enumerate(names))
    return several, asked.labels or found


def _provisional(asked: Auto, labels: Sequence[LabelField], *, several: bool) -> Recipe:
    """Return a recipe that says enough for the manifest to be read."""
    return Recipe.model_validate(
        {
            **asked.model_dump(include={*_SAID, "split", "snapshot", "evaluation"}),
            "kind": asked.auto,
            "network": {"name": "?"},
            "input": {"modalities": asked.modalities, "spatial_dims": 2, "size": (8, 8)},
            "labels": [label.model_dump() for label in labels],
            "loss": "binary-cross-entropy" if several else _LOSS[asked.auto],
            "options": {"activation": "sigmoid"} if several else {},
            "epochs": 1,
        }
    )


def _look(cases: Sequence[Case], asked: Auto) -> list[Input]:
    """Read some of the images."""
    places = np.linspace(0, len(cases) - 1, min(len(cases), _LOOKED_AT)).round().astype(int)
    images, faults = [], []
    for place in places:
        case = cases[int(place)]
        try:
            images.append(_image(case, asked))
        except StudyRejected as refused:
            faults.append(Fault(case.row, "image", refused.sentence))
    if faults:
        raise ManifestInvalid(faults)
    return images


def _image(case: Case, asked: Auto) -> Input:
    """Read the first image of a case for what it is: grey or in colours, a volume or not."""
    path, is_folded = case.image, asked.snapshot.colours == "to-grey"
    if path is None:
        raise StudyRejected("there is no image", Reason.FILE_MISSING)
    unit = "HU" if "CT" in asked.modalities else ""
    dims = 3 if path.suffix == ".npy" and np.load(path, mmap_mode="r").ndim == 3 else 2
    if not path.name.lower().endswith(pictures.SUFFIXES):
        return reading.read_image(path, spatial_dims=dims, unit=unit, takes_slices=True)
    try:
        return pictures.read(path, is_colour=False, to_grey=is_folded)
    except StudyRejected:
        return pictures.read(path, is_colour=True)


def _decided(
    asked: Auto,
    labels: Sequence[LabelField],
    cases: Sequence[Case],
    images: Sequence[Input],
    budget: Budget,
    *,
    several: bool,
) -> dict[str, Any]:
    """Return the fields of the recipe that the cases decide."""
    dims = 3 if all(isinstance(image, Volume) for image in images) else 2
    is_colour = any(not isinstance(one, Volume) and one.pixels.ndim == 4 for one in images)
    names = [label.name for label in labels]
    seen = planning_segmentation.look(
        images, spatial_dims=dims, channels=3 if is_colour else 1, names=names
    )
    if asked.auto == "segmentation":
        fields = planning_segmentation.plan(
            seen, budget.memory, cases=len(cases), operations=budget.operations
        )
    else:
        counts = _counts(cases, names)
        fields = planning_classification.plan(seen, len(cases), counts, budget, several=several)
    return {**fields, "input": _input(asked, seen, images) | fields["input"]}


def _counts(cases: Sequence[Case], names: Sequence[str]) -> list[int]:
    found = Counter(name for case in cases for name in classes_of(str(case.label)))
    return [found[name] for name in names]


def _input(asked: Auto, seen: Seen, images: Sequence[Input]) -> dict[str, Any]:
    return {
        "modalities": asked.modalities,
        "spatial_dims": len(seen.shapes[0]),
        "channels": seen.channels,
        **({"window": window} if (window := _window(asked, images)) else {}),
    }


def _window(asked: Auto, images: Sequence[Input]) -> tuple[float, float] | None:
    """Return which values become 0 to 1: of CT by its numbers, of bytes all; else None."""
    if "CT" in asked.modalities:
        some = np.concatenate([_values(image).ravel()[::97] for image in images])
        low, high = np.percentile(some, _WINDOW_PERCENTILES)
        step = _WINDOW_STEP
        return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
    largest = max(float(_values(image).max()) for image in images)
    is_bytes = all(not isinstance(image, Volume) for image in images) and 1.0 < largest <= 255.0
    return (0.0, 255.0) if is_bytes else None


def _values(image: Input) -> np.ndarray[Any, Any]:
    return image.values() if isinstance(image, Volume) else image.pixels


def _said(asked: Auto, labels: Sequence[LabelField], looked_at: int) -> dict[str, Any]:
    """Return the fields of the recipe that the document states."""
    how = (
        f"Chosen by auto for {asked.minutes:g} minutes, from {looked_at} images of the training "
        "part."
    )
    return {
        **asked.model_dump(include={*_SAID, "split", "snapshot", "evaluation", "gate"}),
        "kind": asked.auto,
        "labels": [label.model_dump() for label in labels],
        "description": f"{asked.description} {how}".strip(),
    }
