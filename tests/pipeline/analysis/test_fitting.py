from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.analysis import parse
from pipeline.analysis.fitting import faults
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec

TEXT = """
name: chain
version: "1"
title: Steps that ask each other
inputs:
  ct: {kind: volume, where: {modality: CT}}
steps:
  - {name: mask, model: segmenter, input: ct}
  - {name: kind, model: classifier, input: ct}
  - {name: boxes, model: detector, input: ct}
  - name: last
    model: segmenter
    input: ct
    crop: {to: mask, segments: lung}
    when:
      all:
        - {step: kind, top: sick}
        - {step: kind, score: sick, minimum: 0.5}
        - {step: mask, volume_ml: lung, minimum: 1}
        - {step: boxes, count: nodule, minimum: 1}
        - {step: boxes, value: size, minimum: 1}
"""


def spec(name: str, kind: Kind, *labels: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        version="1",
        kind=kind,
        title=name,
        input=InputSpec(modalities=("CT",), spatial_dims=3),
        labels=tuple(Label(number=n, name=label) for n, label in enumerate(labels, 1)),
    )


MODELS = {
    one.name: one
    for one in (
        spec("segmenter", Kind.SEGMENTATION, "lung"),
        spec("classifier", Kind.CLASSIFICATION, "well", "sick"),
        spec("detector", Kind.DETECTION, "nodule"),
    )
}


def test_steps_that_fit_their_models_have_no_faults() -> None:
    assert faults(parse(TEXT), MODELS) == []


def test_of_models_that_are_not_at_hand_nothing_is_said() -> None:
    assert faults(parse(TEXT.replace("to: mask, segments: lung", "to: kind")), {}) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("to: mask, segments: lung", "to: kind", "classifier (classification) makes no mask"),
        ("segments: lung", "segments: liver", "model segmenter knows lung"),
        ("top: sick", "top: ill", "model classifier knows well, sick"),
        ("step: kind, score: sick", "step: mask, score: lung", "(segmentation) states none"),
        ("step: mask, volume_ml: lung", "step: boxes, volume_ml: nodule", "states none"),
        ("step: boxes, count: nodule", "step: kind, count: sick", "states none"),
        ("count: nodule", "count: cyst", "model detector knows nodule"),
        ("modality: CT", "modality: MR", "model segmenter is for CT, input ct is MR"),
        ("modality: CT", "modality: [CT, PT]", "model segmenter is for CT, input ct is PT"),
        ("name: kind,", "keep: [probabilities], name: kind,", "no probabilities"),
    ],
)
def test_what_a_model_cannot_give_is_said(old: str, new: str, said: str) -> None:
    found = faults(parse(TEXT.replace(old, new)), MODELS)
    assert any(said in sentence for sentence in found), found


CHANNELS = """
name: tumour
version: "1"
title: Two series as one input
inputs:
  t1: {kind: volume, where: {modality: MR}}
  flair: {kind: volume, where: {modality: MR}}
steps:
  - {name: tumour, model: pair, input: [t1, flair]}
"""


def pair(channels: int = 2) -> dict[str, ModelSpec]:
    stated = InputSpec(modalities=("MR",), spatial_dims=3, channels=channels)
    return {"pair": replace(spec("pair", Kind.SEGMENTATION, "tumour"), input=stated)}


def test_as_many_series_as_the_model_has_channels_fit() -> None:
    assert faults(parse(CHANNELS), pair()) == []


@pytest.mark.parametrize(
    ("text", "channels", "said"),
    [
        (CHANNELS, 3, "tumour: model pair reads 3 series as channels (a, b), the step gives it 2"),
        (CHANNELS, 1, "reads 1 series as channels (a, b), the step gives it 2"),
        (
            CHANNELS.replace(
                "input: [t1, flair]}", "input: t1}\n  - {name: b, model: x, input: flair}"
            ),
            2,
            "reads 2 series as channels (a, b), the step gives it 1",
        ),
        (
            CHANNELS.replace(
                "flair: {kind: volume, where: {modality: MR",
                "flair: {kind: volume, where: {modality: CT",
            ),
            2,
            "model pair is for MR, input flair is CT",
        ),
        (
            CHANNELS.replace("model: pair,", "model: pair, keep: [probabilities],"),
            2,
            "one series only",
        ),
    ],
)
def test_channels_that_a_model_does_not_have_are_said(text: str, channels: int, said: str) -> None:
    (found,) = faults(parse(text), pair(channels), {"pair": ["a", "b"]})
    assert said in found


def test_a_model_of_another_kind_is_not_given_several_series() -> None:
    restoring = replace(pair()["pair"], kind=Kind.RESTORATION)
    (found,) = faults(parse(CHANNELS), {"pair": restoring})
    assert "model pair cannot be given several series" in found
    program = replace(restoring, program="configs/inference.json")
    assert faults(parse(CHANNELS), {"pair": program}) == []
    scoring = replace(restoring, kind=Kind.CLASSIFICATION)
    assert faults(parse(CHANNELS), {"pair": scoring}) == []


def test_colours_of_an_image_are_no_series() -> None:
    text = CHANNELS.replace("kind: volume", "kind: image").replace("[t1, flair]", "t1")
    text += "  - {name: b, model: x, input: flair}\n"
    assert faults(parse(text), pair(3)) == []


@pytest.mark.parametrize(("step", "is_fault"), [("window", False), ("adjust", True)])
def test_a_model_of_hounsfield_units_is_given_nothing_else(*, step: str, is_fault: bool) -> None:
    parameters = {"window": "{level: 40, width: 400}", "adjust": "{gamma: 2}"}[step]
    text = f"""
name: prepared
version: "1"
title: An input made ready
inputs:
  ct: {{kind: volume, where: {{modality: CT}}}}
prepare:
  ready: {{of: ct, steps: [{{{step}: {parameters}}}]}}
steps:
  - {{name: mask, model: absolute, input: ready}}
  - {{name: kind, model: classifier, input: ready}}
"""
    stated = InputSpec(modalities=("CT",), spatial_dims=3, window=(-100.0, 300.0))
    absolute = replace(spec("absolute", Kind.SEGMENTATION, "lung"), input=stated)
    said = "step mask: model absolute reads HU, which ready has no more"
    assert faults(parse(text), MODELS | {"absolute": absolute}) == ([said] if is_fault else [])
