"""From weights to a bundle that says how good it is, held against the version in use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipeline.evaluation import summary
from pipeline.evaluation.scores import Scores
from pipeline.models import predictors, weights
from pipeline.models.bundle import Bundle
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
from pipeline.training import gating, judging, kept_cases, product
from pipeline.training.attempt import Attempt
from pipeline.training.gate_order import GateOrder
from pipeline.training.manifest import Part
from pipeline.training.product import Learned, Measured
from pipeline.training.robustness import Robustness


def evaluate(attempt: Attempt, learned: Learned) -> dict[str, Any]:
    """Let the bundle answer for the held-out cases, write it with the scores, ask the gate.

    Returns:
        ``digest`` of the bundle, ``metrics``, and of the gate, where there is one, ``gate``.

    Raises:
        Interrupted: asked to stop.

    """
    attempt.enter("evaluating")
    draft = product.write(_fresh(attempt.folder / "draft"), learned, None)
    predictor = predictors.open(draft, device=Device(str(attempt.device)))
    scores = _judged(attempt, learned, draft, predictor)
    measured = Measured(scores=scores, metrics=summary.summarise(scores))
    made = product.write(_fresh(Path(attempt.order.bundle)), learned, measured)
    end: dict[str, Any] = {"digest": made.digest, "metrics": measured.metrics}
    if attempt.order.gate is not None:
        attempt.enter("gate")
        asked = GateOrder.of(attempt.order.gate)
        end["gate"] = _gate(attempt, asked, learned, made.digest, scores, predictor)
    return end


def _judged(attempt: Attempt, learned: Learned, draft: Bundle, predictor: Predictor) -> Scores:
    """Return the scores of the held-out cases, answered as the bundle will answer in use."""
    recipe, held_out = learned.recipe, learned.snapshot.part(Part.HELD_OUT)
    scores = judging.judge(held_out, recipe, predictor, checkpoint=attempt.stop.checkpoint)
    if recipe.evaluation.robustness is None:
        return scores
    attacked = Robustness(recipe=recipe, network=weights.load(draft), device=attempt.device)
    return attacked.measured(scores, held_out, checkpoint=attempt.stop.checkpoint)


def _gate(
    attempt: Attempt,
    asked: GateOrder,
    learned: Learned,
    digest: str,
    scores: Scores,
    predictor: Predictor,
) -> dict[str, Any]:
    """Hold the candidate against the version in use; return the decision in short."""
    recipe, order = learned.recipe, attempt.order
    cases = kept_cases.keep(
        learned.snapshot, order.key(), is_deidentified=recipe.snapshot.deidentify
    )
    candidate = gating.Candidate(
        recipe=recipe,
        version=order.version,
        digest=digest,
        held_out=learned.snapshot.part(Part.HELD_OUT),
        cases=cases,
        scores=scores,
        predictor=predictor,
    )
    verdict = gating.run(
        asked,
        candidate,
        device=Device(str(attempt.device)),
        checkpoint=attempt.stop.checkpoint,
    )
    return {"decision": verdict.decision, "sentence": verdict.sentence}


def _fresh(folder: Path) -> Path:
    """Return ``folder`` with what an attempt that was killed left there removed."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder
