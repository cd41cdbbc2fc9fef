from __future__ import annotations

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
        ("name: kind,", "keep: [probabilities], name: kind,", "no probabilities"),
    ],
)
def test_what_a_model_cannot_give_is_said(old: str, new: str, said: str) -> None:
    found = faults(parse(TEXT.replace(old, new)), MODELS)
    assert any(said in sentence for sentence in found), found
