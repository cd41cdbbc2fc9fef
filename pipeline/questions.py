"""One input of a step put to its model: the answer, how sure it is of it, and why."""

from __future__ import annotations

from dataclasses import asdict, replace

from pipeline.analysis.steps import Step
from pipeline.asking import Uncertainty
from pipeline.errors import ModelMismatch
from pipeline.models.predictor import (
    Checkpoint,
    Explains,
    KeepsProbabilities,
    Predictor,
    SaysHowSure,
    TakesChannels,
)
from pipeline.models.segmentation import Laps
from pipeline.results import Classification, Prediction
from pipeline.volume import Channels, Input


def ask(
    step: Step, predictor: Predictor, seen: Input | Channels, *, checkpoint: Checkpoint
) -> Prediction:
    """Return what a model says of an input, with all that the step asks for.

    Raises:
        ModelMismatch: the model cannot give what is asked, or takes no several series.
        OutOfMemory, Interrupted, DeadlineExceeded: by the predictor.

    """
    if step.uncertainty is not None:
        prediction = _sampled(predictor, seen, step.uncertainty, checkpoint)
    else:
        prediction = _answered(step, predictor, seen, checkpoint)
    return _explained(step, predictor, seen, prediction, checkpoint) if step.explain else prediction


def _answered(
    step: Step, predictor: Predictor, seen: Input | Channels, checkpoint: Checkpoint
) -> Prediction:
    name = predictor.spec.name
    if isinstance(seen, Channels):
        if step.keep:
            raise ModelMismatch(f"model {name} keeps no probabilities of several series")
        if not isinstance(predictor, TakesChannels):
            raise ModelMismatch(f"model {name} reads one series, not {len(seen.volumes)}")
        return predictor.predict_channels(seen, checkpoint=checkpoint)
    if "probabilities" not in step.keep:
        return predictor.predict(seen, checkpoint=checkpoint)
    if not isinstance(predictor, KeepsProbabilities):
        raise ModelMismatch(f"model {name} has no probabilities per voxel to keep")
    return predictor.predict_with_probabilities(seen, checkpoint=checkpoint)


def _sampled(
    predictor: Predictor, seen: Input | Channels, asked: Uncertainty, checkpoint: Checkpoint
) -> Prediction:
    if not isinstance(predictor, SaysHowSure):
        raise ModelMismatch(f"model {predictor.spec.name} cannot say how sure it is")
    return predictor.predict_with_uncertainty(seen, asked, checkpoint=checkpoint)


def _explained(
    step: Step,
    predictor: Predictor,
    seen: Input | Channels,
    prediction: Prediction,
    checkpoint: Checkpoint,
) -> Prediction:
    """Return a prediction with a map for each explanation, of the likeliest label unless stated."""
    name = predictor.spec.name
    likeliest = [
        one.label for one in prediction.findings if isinstance(one, Classification) and one.is_top
    ]
    if not isinstance(predictor, Explains) or not likeliest:
        raise ModelMismatch(f"model {name} cannot be explained: it is no classification of ours")
    clock = Laps()
    maps = tuple(
        predictor.explain(seen, one, one.label or likeliest[0], checkpoint=checkpoint)
        for one in step.explain
    )
    clock.lap("explain")
    asked = [
        {name: value for name, value in asdict(one).items() if value is not None}
        for one in step.explain
    ]
    return replace(
        prediction,
        maps=(*prediction.maps, *maps),
        options={**prediction.options, "explain": asked},
        seconds={**prediction.seconds, **clock.seconds},
    )
