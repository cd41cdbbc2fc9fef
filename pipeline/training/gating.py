"""The gate at the end of a training: candidate and active version on the same held-out cases.

Everything that the verdict comes from is kept as files, named in the statement by their sha256, so
that it can be computed again: both scores, and which cases this and earlier trainings used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.errors import Interrupted, PipelineError, TrainingRefused
from pipeline.evaluation import comparison, gate, gate_page, scores
from pipeline.evaluation.gate import Verdict
from pipeline.evaluation.page import Heading
from pipeline.evaluation.rule import Rule
from pipeline.evaluation.scores import Scores, ScoresRefused
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.models.predictor import Checkpoint, Predictor
from pipeline.models.spec import Kind, ModelSpec
from pipeline.reasons import Reason
from pipeline.training import judging, kept_cases, product, worst_cases
from pipeline.training.fields import InputField
from pipeline.training.gate_order import (
    ACTIVE,
    CANDIDATE,
    CASES,
    PAGE,
    STATEMENT,
    GateOrder,
    Version,
)
from pipeline.training.kept_cases import KeptCases
from pipeline.training.manifest import Case
from pipeline.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The product of a training, and how it did on its held-out cases."""

    recipe: Recipe
    version: str
    digest: str
    held_out: Sequence[Case]
    cases: KeptCases
    scores: Scores
    #: of its bundle, to draw the worst cases
    predictor: Predictor


def run(
    order: GateOrder, candidate: Candidate, *, device: Device, checkpoint: Checkpoint
) -> Verdict:
    """Judge the active version too, decide, and leave statement, page and what they come from.

    Raises:
        Interrupted: by ``checkpoint``, called before and within each case.

    """
    folder = Path(order.folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    active, trouble = _judged(order.active, candidate, device, checkpoint)
    files = {CANDIDATE: candidate.scores.dump(), CASES: candidate.cases.dump()}
    if active is not None:
        files[ACTIVE] = active.dump()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    rule = candidate.recipe.gate or Rule()
    line = {
        one.name: kept_cases.parse(Path(one.cases).read_bytes())
        for one in order.line
        if one.cases is not None
    }
    against = kept_cases.shared_with_any(candidate.cases, line) + trouble
    verdict = gate.decide(rule, candidate.scores, active, against=against)
    statement = _stated(order, candidate, files) | {
        "trouble": trouble,
        "rule": rule.model_dump(mode="json"),
        "verdict": verdict.stated(),
    }
    (folder / STATEMENT).write_text(json.dumps(statement, indent=1, sort_keys=True) + "\n")
    worst = worst_cases.pictures(
        candidate.held_out,
        candidate.recipe,
        candidate.predictor,
        candidate.scores,
        checkpoint=checkpoint,
    )
    heading = _heading(order, candidate)
    page = gate_page.render(heading, verdict, candidate.scores, active, worst=worst)
    (folder / PAGE).write_text(page, encoding="utf-8")
    return verdict


def _judged(
    active: Version | None, candidate: Candidate, device: Device, checkpoint: Checkpoint
) -> tuple[Scores | None, list[str]]:
    """Return the scores of the active version on the held-out cases, or why there are none."""
    if active is None:
        return None, []
    try:
        loaded = bundle.load(Path(active.bundle))
        kept = _kept_scores(loaded.folder / product.SCORES, candidate.scores)
        if kept is not None:  # given as it is in use, by its own recipe
            return kept, []
        recipe = candidate.recipe
        wanted = _asks(recipe.spec(candidate.version), recipe.input)
        asked = _asks(loaded.spec, _input(loaded.folder))
        if any(asked[name] != wanted[name] for name in asked.keys() & wanted.keys()):
            return None, [f"{active.name} is of another kind, has other labels or other inputs"]
        predictor = predictors.open(loaded, device=device)
        judged = judging.judge(candidate.held_out, recipe, predictor, checkpoint=checkpoint)
    except Interrupted:
        raise
    except PipelineError as error:
        return None, [f"{active.name} could not be judged: {error.sentence}"]
    return judged, []


class _Taught(BaseModel):
    """What is read of the recipe in a bundle; what else it says is no matter here."""

    input: InputField


def _input(folder: Path) -> InputField | None:
    """Return the input that the recipe in a bundle states; None where the bundle has no recipe.

    Raises:
        TrainingRefused: it is there and cannot be read.

    """
    try:
        return _Taught.model_validate_json((folder / product.RECIPE).read_bytes()).input
    except FileNotFoundError:  # registered from elsewhere
        return None
    except ValidationError as error:
        sentence = "the recipe in its bundle cannot be read"
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from error


def _asks(spec: ModelSpec, stated: InputField | None) -> dict[str, object]:
    """Return what two versions must have in common to answer for the same cases.

    A version of other labels, or of the same under other numbers, would seem to err everywhere;
    one of other inputs would be shown what it does not know. What a version does not say is left
    out: which images of a case it takes, what its program makes of them. How it scales the values
    of its table is its own affair.
    """
    options = spec.options
    are_apart = bool(options.get("instances"))
    border = options.get("border") if are_apart else None
    asked: dict[str, object] = {
        "kind": spec.kind,
        "channels": spec.input.channels,
        "table": {value.name for value in spec.input.table},
        # a border between objects is learnt, and not judged
        "labels": [(one.number, one.name) for one in spec.labels if one.number != border],
        "instances": are_apart,
    }
    if spec.program is None:
        scale = options.get("scale", 1)
        # planes answer for volumes as well, but do not make slices finer
        asked["scale"] = (scale, spec.input.spatial_dims if scale != 1 else None)
    activation = options.get("activation", "softmax" if spec.program is None else "none")
    if spec.kind is Kind.CLASSIFICATION and activation != "none":
        asked["activation"] = activation
    if stated is not None:
        asked["images"] = stated.images or tuple(range(stated.channels))
    return asked


def _kept_scores(path: Path, candidate: Scores) -> Scores | None:
    """Return the scores that lie in a bundle, where they are of the same cases and settings."""
    try:
        kept = scores.parse(path.read_bytes())
        comparison.pair(candidate, kept)
    except (FileNotFoundError, ScoresRefused):
        return None
    return kept


def _stated(order: GateOrder, candidate: Candidate, files: Mapping[str, str]) -> dict[str, Any]:
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    active = order.active
    return {
        "model": candidate.recipe.name,
        "candidate": {
            "version": candidate.version,
            "digest": candidate.digest,
            "scores": digests[CANDIDATE],
        },
        "active": None
        if active is None
        else {
            "version": active.version,
            "digest": active.digest,
            "scores": digests.get(ACTIVE),
        },
        "snapshot": candidate.cases.snapshot,
        "cases": digests[CASES],
        "line": [
            {
                "name": one.name,
                "cases": None if one.cases is None else _sha256(Path(one.cases)),
            }
            for one in order.line
        ],
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _heading(order: GateOrder, candidate: Candidate) -> Heading:
    active = "none" if order.active is None else order.active.name
    unknown = [one.name for one in order.line if one.cases is None]
    lines = [
        f"candidate {candidate.recipe.name}@{candidate.version}, active {active}",
        f"snapshot {candidate.cases.snapshot[:12]}, bundle {candidate.digest[:12]}",
        *(f"what {name} was trained on is not known here" for name in unknown),
    ]
    return Heading(title=candidate.recipe.title, lines=lines, warnings=[])
