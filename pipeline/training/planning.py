"""Automatic recipes: ``auto: classification`` and what is known, and the cases decide the rest.

What comes of it is an ordinary recipe, which is what is trained by, kept and shown. The rules of
each kind lie in rooms of their own (``planning_classification`` and its siblings).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import TrainingRefused
from pipeline.evaluation.rule import Rule
from pipeline.reasons import Reason
from pipeline.training import (
    planning_boxes,
    planning_classification,
    planning_detection,
    planning_images,
    planning_restoration,
    planning_segmentation,
    recipe,
)
from pipeline.training.fields import (
    DegradationField,
    EvaluationField,
    LabelField,
    SnapshotField,
    SplitField,
    Strict,
)
from pipeline.training.manifest import Case, Part, Snapshot, freeze
from pipeline.training.manifest.labels import classes_of
from pipeline.training.manifest.rows import NONE
from pipeline.training.manifest.rows import read as read_rows
from pipeline.training.planning_boxes import SeenBoxes
from pipeline.training.planning_costs import Budget
from pipeline.training.planning_segmentation import Seen
from pipeline.training.recipe import Recipe
from pipeline.volume import Input, Volume

#: of a CT, percentiles of its values become the window; beyond it a restoration answers nothing
_WINDOW, _WIDE_WINDOW = (0.5, 99.5), (0.05, 99.95)
#: what each kind may state before anything is decided: a network and a loss
_FIRST: Final[Mapping[str, tuple[str, str]]] = {
    "classification": ("?", "cross-entropy"),
    "segmentation": ("?", "dice-cross-entropy"),
    "detection": ("RetinaNet", "focal"),
    "restoration": ("?", "l2"),
}
#: kinds whose labels the cases name
_NAMED: Final = ("classification", "detection")
#: what is said of a model, not decided by its cases
_SAID: Final = ("name", "version", "title", "seed", "licence", "demonstration")


class Auto(Strict):
    """What an automatic recipe states; fields that a recipe has too mean the same."""

    #: the kind of model
    auto: Literal["classification", "segmentation", "detection", "restoration"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    version: int = Field(default=1, ge=0)
    title: str = Field(max_length=120)
    modalities: tuple[str, ...] = Field(min_length=1)
    #: none = of a classification the words that the manifest has, of a detection the names that
    #: the boxes have, in their order
    labels: tuple[LabelField, ...] = ()
    #: of a restoration, and only there
    degradation: DegradationField | None = None
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

    @model_validator(mode="after")
    def _can_be_undone(self) -> Auto:
        """Refuse what no network is chosen for; what any recipe is refused for, recipes know."""
        wanted = self.degradation
        if wanted is not None and wanted.downsample > planning_restoration.LARGEST_SCALE:
            message = f"downsample is at most {planning_restoration.LARGEST_SCALE} under auto"
            raise ValueError(message)
        return self


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
        several, stated = _labels(asked, manifest)
        provisional = _provisional(asked, stated, several=several)
    except ValidationError as error:
        raise TrainingRefused(recipe.in_words(error), Reason.TRAINING_RECIPE_INVALID) from error
    budget = Budget(minutes=asked.minutes, cores=cores, memory=memory, has_gpu=has_gpu)
    looked = _look(asked, stated, freeze(manifest, provisional), provisional)
    fields = _decided(asked, looked, budget, several=several)
    said = _said(asked, looked.labels, len(looked.images))
    return recipe.check(fields | said | {"evaluation": _evaluation(asked, fields)})


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """What was seen of the training part."""

    cases: Sequence[Case]
    #: how many there are in the validation part
    validated: int
    images: Sequence[Input]
    labels: Sequence[LabelField]
    seen: Seen
    #: of a detection
    boxes: SeenBoxes | None = None


def _labels(asked: Auto, manifest: Path) -> tuple[bool, tuple[LabelField, ...]]:
    """Return whether cases have any number of classes, and the labels as far as rows tell them."""
    if asked.auto != "classification":
        return False, asked.labels
    rows = read_rows(manifest, _provisional(asked, asked.labels, several=False))
    words = {row.label for row in rows}
    several = any(word == NONE or len(classes_of(word)) > 1 for word in words)
    names = {name for word in words if word for name in classes_of(word)}
    return several, asked.labels or _numbered(sorted(names))


def _numbered(names: Iterable[str]) -> tuple[LabelField, ...]:
    return tuple(LabelField(number=number, name=name) for number, name in enumerate(names))


def _provisional(asked: Auto, labels: Sequence[LabelField], *, several: bool) -> Recipe:
    """Return a recipe that says enough for the manifest to be read."""
    network, loss = _FIRST[asked.auto]
    options: dict[str, Any] = {"activation": "sigmoid"} if several else {}
    if asked.auto in _NAMED:
        labels = labels or _numbered("?")
    if asked.degradation is not None:
        options = {"scale": asked.degradation.downsample}
    return Recipe.model_validate(
        {
            **asked.model_dump(include={*_SAID, "split", "snapshot", "evaluation", "degradation"}),
            "kind": asked.auto,
            "network": {"name": network},
            "input": {"modalities": asked.modalities, "spatial_dims": 2, "size": (8, 8)},
            "labels": [label.model_dump() for label in labels],
            "loss": "binary-cross-entropy" if several else loss,
            "options": options,
            "epochs": 1,
        }
    )


def _look(
    asked: Auto, stated: Sequence[LabelField], snapshot: Snapshot, provisional: Recipe
) -> _Looked:
    """Look at some of the images, and at the boxes where there are such."""
    cases = snapshot.part(Part.TRAINING)
    folded = asked.snapshot.colours == "to-grey"
    by_path = planning_images.look(cases, is_ct="CT" in asked.modalities, is_folded=folded)
    images, labels, boxes = [*by_path.values()], stated, None
    takes_loops = asked.auto == "classification"
    is_deep = (
        isinstance(image, Volume) or (takes_loops and planning_images.is_sequence(image))
        for image in images
    )
    dims = 3 if all(is_deep) else 2
    if asked.auto == "detection":
        names = [label.name for label in stated]
        boxes = planning_boxes.look(cases, by_path, provisional, names, spatial_dims=dims)
        labels = stated or _numbered(boxes.sides)
    seen = planning_segmentation.look(
        images,
        spatial_dims=dims,
        channels=3 if any(map(planning_images.is_colour, images)) else 1,
        names=[label.name for label in labels],
    )
    return _Looked(
        cases=cases,
        validated=len(snapshot.part(Part.VALIDATION)),
        images=images,
        labels=labels,
        seen=seen,
        boxes=boxes,
    )


def _decided(asked: Auto, looked: _Looked, budget: Budget, *, several: bool) -> dict[str, Any]:
    """Return the fields of the recipe that the cases decide."""
    seen, count = looked.seen, len(looked.cases)
    if asked.degradation is not None:
        fields = planning_restoration.plan(seen, asked.degradation, count, looked.validated, budget)
    elif looked.boxes is not None:
        fields = planning_detection.plan(seen, looked.boxes, count, budget)
    elif asked.auto == "segmentation":
        fields = planning_segmentation.plan(
            seen, budget.memory, cases=count, operations=budget.operations
        )
    else:
        counts = _counts(looked.cases, seen.names)
        fields = planning_classification.plan(seen, count, counts, budget, several=several)
    return {**fields, "input": _input(asked, looked) | fields["input"]}


def _counts(cases: Sequence[Case], names: Sequence[str]) -> list[int]:
    found = Counter(name for case in cases for name in classes_of(str(case.label)))
    return [found[name] for name in names]


def _input(asked: Auto, looked: _Looked) -> dict[str, Any]:
    window = planning_images.window(
        looked.images,
        _WINDOW if asked.degradation is None else _WIDE_WINDOW,
        is_ct="CT" in asked.modalities,
    )
    return {
        "modalities": asked.modalities,
        "spatial_dims": len(looked.seen.shapes[0]),
        "channels": looked.seen.channels,
        **({"window": window} if window else {}),
    }


def _evaluation(asked: Auto, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the model is judged: what is stated, and what the cases decide beside it."""
    stated = asked.evaluation
    return stated.model_dump() | {
        name: value
        for name, value in fields.get("evaluation", {}).items()
        if name not in stated.model_fields_set
    }


def _said(asked: Auto, labels: Sequence[LabelField], looked_at: int) -> dict[str, Any]:
    """Return the fields of the recipe that the document states."""
    how = (
        f"Chosen by auto for {asked.minutes:g} minutes, from {looked_at} images of the training "
        "part."
    )
    return {
        **asked.model_dump(include={*_SAID, "split", "snapshot", "gate", "degradation"}),
        "kind": asked.auto,
        "labels": [label.model_dump() for label in labels],
        "description": f"{asked.description} {how}".strip(),
    }
