"""The product of a training: a bundle with its card, its recipe and its licence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.evaluation import page
from pipeline.evaluation.scores import Scores
from pipeline.evaluation.statistic import title_of
from pipeline.models import bundle
from pipeline.models.bundle import Bundle
from pipeline.training import course
from pipeline.training.checkpoint import Epoch
from pipeline.training.manifest import Snapshot
from pipeline.training.recipe import Recipe
from pipeline.training.transfer import Taken

RECIPE = "configs/recipe.json"
SCORES = "docs/evaluation.json"
COURSE = "docs/course.json"
PAGE = "docs/evaluation.html"
_NOT_FOR_PATIENTS = (
    "Not a medical device. Not for clinical use: it must not be used to diagnose, to treat or to "
    "decide anything about a patient."
)
_DEMONSTRATION = (
    "**DEMONSTRATION.** This model shows that the machinery works. It was trained on synthetic "
    "phantoms only and knows nothing of real patients; what it says of real images is meaningless."
)
_APACHE = (
    "Licensed under the Apache License, Version 2.0. You may obtain a copy of the licence at "
    "https://www.apache.org/licenses/LICENSE-2.0\n"
)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a training has to show: the weights and where they come from."""

    recipe: Recipe
    snapshot: Snapshot
    version: str
    weights: Mapping[str, Tensor]
    best_epoch: int
    history: Sequence[Epoch] = ()
    #: what the network began with, other than chance
    taken: Taken | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How good it is on the held-out part: the scores of each case, and their summary."""

    scores: Scores
    metrics: Mapping[str, Any]


def write(folder: Path, learned: Learned, measured: Measured | None) -> Bundle:
    """Write the bundle to ``folder``, which must not exist; None = it is not measured yet.

    Same weights, same recipe, same version: same bytes. It holds no time and no path.

    Raises:
        BundleRefused: the recipe describes a bundle that would not load.

    """
    recipe = learned.recipe
    metrics = {} if measured is None else measured.metrics
    document = json.dumps(recipe.stated(), indent=2, sort_keys=True) + "\n"
    is_apache = recipe.licence == "Apache-2.0"
    licence = _APACHE if is_apache else f"Licence, as the recipe states it: {recipe.licence}\n"
    monai_keys = {
        "name": recipe.title,
        "description": recipe.description or recipe.title,
        "authors": "trained by Nightshift",
        "copyright": recipe.licence,
        "intended_use": _NOT_FOR_PATIENTS,
        "data_type": "synthetic phantoms" if recipe.demonstration else "stated by the manifest",
        "eval_metrics": dict(metrics),
        "training": _provenance(learned),
    }
    return bundle.write(
        folder,
        recipe.spec(learned.version),
        weights=learned.weights,
        card=_card(learned, metrics),
        monai_keys=monai_keys,
        files={
            "LICENSE": licence.encode(),
            RECIPE: document.encode(),
            **({} if measured is None else _evaluation(learned, measured)),
        },
    )


def _evaluation(learned: Learned, measured: Measured) -> dict[str, bytes]:
    """Return the scores of each case, the course of the training, and the page of both."""
    recipe = learned.recipe
    heading = page.Heading(
        title=recipe.title,
        lines=[f"{recipe.name}@{learned.version}", _training(learned)],
        warnings=[*_warnings(recipe), *_of_the_cases(learned)],
    )
    return {
        SCORES: measured.scores.dump().encode(),
        COURSE: course.dump(learned.history).encode(),
        PAGE: page.render(
            heading, measured.scores, measured.metrics, course.curves(learned.history)
        ).encode(),
    }


def _of_the_cases(learned: Learned) -> list[str]:
    """Return what is odd about the cases, each once, and of how many rows of the manifest."""
    counts = Counter((one.column, one.sentence, one.row > 0) for one in learned.snapshot.warnings)
    return [
        f"The cases, {column}: {sentence}{f' (rows: {count})' if is_of_rows else ''}"
        for (column, sentence, is_of_rows), count in counts.items()
    ]


def _warnings(recipe: Recipe) -> Sequence[str]:
    return [*([_DEMONSTRATION] if recipe.demonstration else []), _NOT_FOR_PATIENTS]


def _provenance(learned: Learned) -> dict[str, Any]:
    return {
        "recipe_digest": learned.recipe.digest,
        "snapshot_digest": learned.snapshot.digest,
        "cases": learned.snapshot.counts(),
        **({"generated": _made(learned.recipe)} if learned.recipe.generated else {}),
        **({"transfer": learned.taken.report()} if learned.taken else {}),
        "best_epoch": learned.best_epoch,
    }


def _made(recipe: Recipe) -> int:
    """Return how many images a generator added to the training part."""
    return 0 if recipe.generated is None else recipe.generated.per_class * len(recipe.labels)


def _training(learned: Learned) -> str:
    """Return in one paragraph what the model was trained on."""
    recipe, counts = learned.recipe, _provenance(learned)["cases"]
    made = f" and {_made(recipe)} images made by a generator" if recipe.generated else ""
    begun = f" {learned.taken}" if learned.taken else ""
    unlabelled = f" and {counts['unlabelled']} without a label" if "unlabelled" in counts else ""
    return (
        f"{counts['training']} cases{unlabelled}{made} to train on, "
        f"{counts['validation']} to choose the best epoch, {counts['held-out']} held out; "
        f"split by patient. Recipe {recipe.digest[:12]}, snapshot {learned.snapshot.digest[:12]}, "
        f"network {recipe.network.name}, best epoch {learned.best_epoch} of {recipe.epochs}."
        f"{begun}"
    )


def _card(learned: Learned, metrics: Mapping[str, Any]) -> str:
    """Return the model card: what it is for, what it is not for, and how good it is."""
    recipe, spec = learned.recipe, learned.recipe.spec(learned.version)
    modalities = ", ".join(spec.input.modalities)
    answers = ", ".join(label.name for label in spec.labels) or "an image in the unit of its input"
    use = (
        f"Kind: {spec.kind}. Input: {modalities}, {spec.input.spatial_dims}-D. Answers: {answers}."
    )
    more = (
        "Intervals are 95 % bootstraps over patients; patients (n) are those that bear on the "
        "number. Curves and subgroups are in `evaluation.html`, the scores of each case in "
        "`evaluation.json`, both beside this card."
    )
    parts = [
        f"# {recipe.title}",
        *_warnings(recipe),
        recipe.description,
        "## Use",
        use,
        "## Training",
        _training(learned),
        *_of_the_cases(learned),
        "## On the held-out cases",
        _table(metrics),
        more,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(metrics: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {value} | {detail} |" for name, value, detail in _rows(metrics)]
    return "\n".join(["| metric | value | interval, patients |", "| --- | --- | --- |", *lines])


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the counts, then the statistics of all, then those of each label."""
    yield from ((name, str(metrics[name]), "") for name in ("cases", "patients") if name in metrics)
    measured = {"": metrics, **metrics.get("labels", {})}
    for label, found in measured.items():
        for name, metric in page.statistics_in(found).items():
            cell = page.words(metric)
            yield f"{label} {title_of(name)}".strip(), cell.value, cell.detail
