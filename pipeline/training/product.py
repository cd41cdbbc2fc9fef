"""The product of a training: a bundle with its card, its recipe and its licence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.models import bundle
from pipeline.models.bundle import Bundle
from pipeline.training.manifest import Part, Snapshot
from pipeline.training.recipe import Recipe

RECIPE = "configs/recipe.json"
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


def write(folder: Path, learned: Learned, metrics: Mapping[str, Any] | None) -> Bundle:
    """Write the bundle to ``folder``, which must not exist; ``metrics`` = on the held-out part.

    Same weights, same recipe, same version: same bytes. It holds no time and no path.

    Raises:
        BundleRefused: the recipe describes a bundle that would not load.

    """
    recipe = learned.recipe
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
        "eval_metrics": dict(metrics or {}),
        "training": _provenance(learned),
    }
    return bundle.write(
        folder,
        recipe.spec(learned.version),
        weights=learned.weights,
        card=_card(learned, metrics or {}),
        monai_keys=monai_keys,
        files={"LICENSE": licence.encode(), RECIPE: document.encode()},
    )


def _provenance(learned: Learned) -> dict[str, Any]:
    counts = {part.value: len(learned.snapshot.part(part)) for part in Part}
    return {
        "recipe_digest": learned.recipe.digest,
        "snapshot_digest": learned.snapshot.digest,
        "cases": counts,
        "best_epoch": learned.best_epoch,
    }


def _card(learned: Learned, metrics: Mapping[str, Any]) -> str:
    """Return the model card: what it is for, what it is not for, and how good it is."""
    recipe, spec = learned.recipe, learned.recipe.spec(learned.version)
    counts = _provenance(learned)["cases"]
    modalities = ", ".join(spec.input.modalities)
    answers = ", ".join(label.name for label in spec.labels) or "an image in the unit of its input"
    use = (
        f"Kind: {spec.kind}. Input: {modalities}, {spec.input.spatial_dims}-D. Answers: {answers}."
    )
    training = (
        f"{counts['training']} cases to train on, {counts['validation']} to choose the best "
        f"epoch, {counts['held-out']} held out; split by patient. "
        f"Recipe `{recipe.digest[:12]}`, snapshot `{learned.snapshot.digest[:12]}`, "
        f"network {spec.network}, best epoch {learned.best_epoch} of {recipe.epochs}."
    )
    parts = [
        f"# {recipe.title}",
        *([_DEMONSTRATION] if recipe.demonstration else []),
        _NOT_FOR_PATIENTS,
        recipe.description,
        "## Use",
        use,
        "## Training",
        training,
        "## On the held-out cases",
        _table(metrics),
        "Intervals (low, high) are 95 % bootstraps over patients.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(metrics: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {value} |" for name, value in _flat(metrics)]
    return "\n".join(["| metric | value |", "| --- | --- |", *rows])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        path = f"{prefix} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        elif isinstance(value, float):
            yield path, f"{value:.4g}"
        else:
            yield path, "none" if value is None else str(value)
