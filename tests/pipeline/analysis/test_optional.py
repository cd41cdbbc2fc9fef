"""Optional inputs in a document: where they make sense, and which models can do without them."""

from __future__ import annotations

import pytest

from pipeline.analysis import AnalysisInvalid, parse
from pipeline.analysis.fitting import faults
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec

TEXT = """
name: fused
version: "1"
title: A head by up to three series
inputs:
  t1: {kind: volume, where: {modality: MR, description_contains: t1}, optional: true}
  t2: {kind: volume, where: {modality: MR, description_contains: t2}}
  flair: {kind: volume, where: {modality: MR, description_contains: flair}, optional: true}
steps:
  - {name: fused, model: fusing, input: [t1, t2, flair]}
"""


CROPPED = "\n  - {name: part, model: fusing, input: [t1, t2, flair], crop: {to: fused}}"


def model(network: str, kind: Kind = Kind.CLASSIFICATION) -> ModelSpec:
    return ModelSpec(
        name="fusing",
        version="1",
        kind=kind,
        title="Fusing",
        input=InputSpec(modalities=("MR",), spatial_dims=3, channels=3),
        labels=(Label(number=1, name="yes"),),
        network=network,
    )


def test_a_document_keeps_its_digest_where_it_says_that_nothing_is_optional() -> None:
    plain = TEXT.replace(", optional: true", "")
    assert parse(plain).digest == parse(TEXT.replace("optional: true", "optional: false")).digest
    assert parse(TEXT).digest != parse(plain).digest
    assert "optional" not in parse(plain).document["inputs"]["t1"]
    assert parse(TEXT).document["inputs"]["t1"]["optional"] is True


@pytest.mark.parametrize("network", ["EarlyFusion", "LateFusion", "JointFusion"])
def test_networks_that_take_a_mask_can_do_without_a_series(network: str) -> None:
    assert faults(parse(TEXT), {"fusing": model(network)}) == []


def test_a_model_whose_network_takes_no_mask_is_refused() -> None:
    said = (
        "step fused: model fusing cannot do without one of its series, and t1, flair may be "
        "missing; the networks EarlyFusion, LateFusion, JointFusion can"
    )
    assert faults(parse(TEXT), {"fusing": model("DenseNet")}) == [said]
    assert faults(parse(TEXT), {"fusing": model("UNet", Kind.SEGMENTATION)}) == [said]
    assert faults(parse(TEXT.replace(", optional: true", "")), {"fusing": model("DenseNet")}) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "steps:\n",
            "steps:\n  - {name: alone, model: fusing, input: t1}\n",
            "step alone reads t1 alone, which is optional",
        ),
        (
            "model: fusing, input: [t1, t2, flair]}",
            f"model: fusing, input: [t1, t2]}}{CROPPED}",
            "step part is cropped, and t1 is optional",
        ),
        ("optional: true}", "optional: perhaps}", "inputs.t1.optional"),
    ],
)
def test_an_optional_input_is_one_of_several(old: str, new: str, said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        parse(TEXT.replace(old, new, 1))


def test_a_step_is_cropped_where_its_first_series_is_always_there() -> None:
    steps = (
        "  - {name: mask, model: fusing, input: t2}\n"
        "  - {name: part, model: fusing, input: [t2, t1], crop: {to: mask}}\n"
    )
    assert len(parse(TEXT + steps).steps) == 3
