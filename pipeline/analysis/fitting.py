"""Do the steps of an analysis fit the models they name? Asked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pipeline.analysis import asked
from pipeline.analysis.document import Analysis
from pipeline.analysis.steps import Comparison, Step, comparisons_of
from pipeline.models import networks
from pipeline.models.checks import needed_unit
from pipeline.models.spec import Kind, ModelSpec
from pipeline.preprocess.steps import keeps_unit

_MASKS: Final = frozenset(kind for kind in Kind if kind.makes_masks)
#: what a comparison is about -> the kinds whose findings have it. Any kind may measure.
_STATED_BY: Final = {
    "top": frozenset({Kind.CLASSIFICATION}),
    "score": frozenset({Kind.CLASSIFICATION}),
    "volume_ml": _MASKS,
    "count": frozenset({Kind.DETECTION}),
    "value": frozenset(Kind),
}

#: returns the model that a step names, None where it is not at hand
_ModelOf = Callable[[str], ModelSpec | None]


def faults(
    analysis: Analysis,
    models: Mapping[str, ModelSpec],
    channels: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[str]:
    """Return what the models of an analysis cannot give, each a sentence.

    Args:
        analysis: a valid analysis.
        models: by name, as many as are at hand. Of others nothing is said.
        channels: by model, what the channels of its input are called, where that is known.

    """
    bound = {step.name: models.get(step.model) for step in analysis.steps}
    found: list[str] = []
    for step in analysis.steps:
        found += _input_faults(analysis, step, bound[step.name])
        found += _channel_faults(analysis, step, bound[step.name], channels.get(step.model, ()))
        found += _missing_faults(analysis, step, bound[step.name])
        found += _crop_faults(step, bound.get)
        found += asked.faults(step, bound[step.name])
        for comparison in () if step.when is None else comparisons_of(step.when):
            found += _condition_faults(step, comparison, bound[comparison.step])
    return found


def _input_faults(analysis: Analysis, step: Step, model: ModelSpec | None) -> Iterator[str]:
    if model is None:
        return
    for name in step.inputs:
        modalities = analysis.rule(name).where.modality
        foreign = [one for one in modalities if one not in model.input.modalities]
        if foreign:
            known, asked = ", ".join(model.input.modalities), ", ".join(foreign)
            yield f"step {step.name}: model {model.name} is for {known}, input {name} is {asked}"
        prepared = analysis.prepare.get(name)
        unit = needed_unit(model)
        if prepared and unit is not None and not keeps_unit(prepared.steps):
            yield f"step {step.name}: model {model.name} reads {unit}, which {name} has no more"
    if "probabilities" in step.keep and model.kind is not Kind.SEGMENTATION:
        yield f"step {step.name}: model {model.name} has no probabilities per voxel to keep"


def _channel_faults(
    analysis: Analysis, step: Step, model: ModelSpec | None, names: Sequence[str]
) -> Iterator[str]:
    # the colours of a single image are channels too
    if model is None or analysis.rule(step.inputs[0]).kind != "volume":
        return
    count, wanted = len(step.inputs), model.input.channels
    if count != wanted:
        called = f" ({', '.join(names)})" if names else ""
        yield (
            f"step {step.name}: model {model.name} reads {wanted} series as channels{called}, "
            f"the step gives it {count}"
        )
    elif count > 1 and not _reads_several(model):
        yield (
            f"step {step.name}: model {model.name} cannot be given several series; segmentation "
            "of volumes, classification and bundles that run a MONAI configuration can"
        )
    elif count > 1 and step.keep:
        yield f"step {step.name}: probabilities are kept of a step that reads one series only"


def _missing_faults(analysis: Analysis, step: Step, model: ModelSpec | None) -> Iterator[str]:
    optional = [name for name in step.inputs if analysis.rule(name).optional]
    if model is None or not optional or networks.takes_missing(model.network):
        return
    known = ", ".join(name for name, row in networks.TABLE.items() if row.takes_missing)
    yield (
        f"step {step.name}: model {model.name} cannot do without one of its series, and "
        f"{', '.join(optional)} may be missing; the networks {known} can"
    )


def _reads_several(model: ModelSpec) -> bool:
    is_of_volumes = model.kind is Kind.SEGMENTATION and model.input.spatial_dims == 3
    return (
        model.program is not None
        or model.kind is Kind.CLASSIFICATION
        or (is_of_volumes and not model.options.get("instances"))
    )


def _crop_faults(step: Step, model_of: _ModelOf) -> Iterator[str]:
    model = None if step.crop is None else model_of(step.crop.to)
    if step.crop is None or model is None:
        return
    if model.kind not in _MASKS:
        yield (
            f"step {step.name} is cropped to {step.crop.to}, "
            f"whose model {model.name} ({model.kind}) makes no mask"
        )
    elif step.crop.segments is not None:
        yield from _unknown_labels(step, step.crop.to, step.crop.segments, model)


def _condition_faults(step: Step, comparison: Comparison, model: ModelSpec | None) -> Iterator[str]:
    if model is None:
        return
    if model.kind not in _STATED_BY[comparison.quantity]:
        yield (
            f"step {step.name} asks for the {comparison.quantity} of step {comparison.step}, "
            f"whose model {model.name} ({model.kind}) states none"
        )
    elif comparison.quantity != "value":
        yield from _unknown_labels(step, comparison.step, comparison.labels, model)


def _unknown_labels(
    step: Step, other: str, labels: Sequence[str], model: ModelSpec
) -> Iterable[str]:
    known = [label.name for label in model.labels]
    for label in labels:
        if label not in known:
            yield (
                f"step {step.name} asks step {other} for {label}, "
                f"but model {model.name} knows {', '.join(known) or 'no label'}"
            )
