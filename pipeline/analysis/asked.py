"""Can a model say what a step asks beside its answer? Asked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from pipeline.analysis.steps import Step
from pipeline.asking import OF_A_LAYER, Explain, Uncertainty
from pipeline.models import options
from pipeline.models.spec import Kind, ModelSpec

if TYPE_CHECKING:
    from torch import nn

_SURE: Final = frozenset({Kind.CLASSIFICATION, Kind.SEGMENTATION})

_NetworkOf = Callable[[], "nn.Module"]


def faults(step: Step, model: ModelSpec | None) -> Iterator[str]:
    """Yield what a model cannot say of how sure it is and why, each a sentence.

    Imports torch only where a question is about the layers of a network.
    """
    if model is None:
        return

    @cache
    def network() -> nn.Module:
        from pipeline.models import weights

        return weights.hollow(model)

    said = [*_uncertainty_faults(step.uncertainty, model, network)]
    for one in step.explain:
        said += _explanation_faults(one, model, network)
    yield from (f"step {step.name}: model {model.name} {sentence}" for sentence in said)


def _uncertainty_faults(
    asked: Uncertainty | None, model: ModelSpec, network: _NetworkOf
) -> Iterator[str]:
    if asked is None:
        return
    if model.kind not in _SURE or model.program is not None or model.options.get("instances"):
        yield (
            "cannot say how sure it is; classifications and segmentations can, "
            "but for instances and bundles that run a MONAI configuration"
        )
        return
    yield from _sampling_faults(asked, model, network)
    if asked.temperature == "stored" and model.calibration is None:
        yield "keeps no temperature"
    if asked.conformal is not None and not (model.calibration and model.calibration.scores):
        yield "keeps no scores for prediction sets"


def _sampling_faults(asked: Uncertainty, model: ModelSpec, network: _NetworkOf) -> Iterator[str]:
    chosen = options.parse(model.kind, model.options)
    if isinstance(chosen, options.AveragingOptions):
        if asked.members and chosen.members == 1:
            yield "is no ensemble"
        if asked.flips and (chosen.flips or chosen.turns):
            yield "takes the mean over views of its own: flips would see them twice"
    axes = model.input.spatial_dims
    if any(axis >= axes for axis in asked.flips):
        yield f"reads {axes} axes, which flips numbers from 0"
    if asked.monte_carlo_dropout is not None:
        from pipeline.models import sampling

        if not sampling.has_dropout(network()):
            yield "has no dropout that could be left on"


def _explanation_faults(asked: Explain, model: ModelSpec, network: _NetworkOf) -> Iterator[str]:
    if model.kind is not Kind.CLASSIFICATION or model.program is not None:
        yield (
            "cannot be explained; classifications can, but for bundles that run a MONAI "
            "configuration"
        )
        return
    known = [label.name for label in model.labels]
    if asked.label is not None and asked.label not in known:
        yield f"knows {', '.join(known)}, not {asked.label}"
    if asked.method not in {*OF_A_LAYER, "attention"}:
        return
    from pipeline.models import explaining

    if asked.method == "attention":
        if not explaining.attends(network()):
            yield "gives its slices no attention; AttentionMIL does"
    elif asked.layer is None:
        if explaining.last_convolution(network()) is None:
            yield "has no convolution: layer says where to look"
    elif asked.layer not in (layers := explaining.layers(network())):
        yield f"has no layer {asked.layer}; among its last are {', '.join(layers[-5:])}"
