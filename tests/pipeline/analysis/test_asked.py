"""Questions are held against the model that is to answer them, before anything runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from pipeline.analysis import from_document
from pipeline.analysis.fitting import faults
from pipeline.models.spec import Calibration, InputSpec, Kind, Label, ModelSpec

DENSENET: dict[str, Any] = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 2,
    "init_features": 2,
    "growth_rate": 2,
    "block_config": [1],
}
MODEL = ModelSpec(
    name="classifier",
    version="1",
    kind=Kind.CLASSIFICATION,
    title="Classifier",
    input=InputSpec(modalities=("CT",), spatial_dims=2, size=(32, 32)),
    labels=(Label(number=0, name="well"), Label(number=1, name="sick")),
    network="DenseNet",
    network_arguments={**DENSENET, "dropout_prob": 0.2},
    calibration=Calibration(temperature=1.2, scores=(0.1, 0.2)),
)
EVERYTHING: dict[str, Any] = {
    "uncertainty": {
        "monte_carlo_dropout": {"samples": 2},
        "flips": [0, 1],
        "temperature": "stored",
        "conformal": {},
    },
    "explain": [
        {"method": "grad-cam", "label": "sick"},
        {"method": "feature-maps", "layer": "features.transition1"},
        {"method": "occlusion"},
    ],
}
DROPOUT = {"uncertainty": {"monte_carlo_dropout": {}}}


def said(model: ModelSpec = MODEL, **asked: Any) -> str:
    document = {
        "name": "sure",
        "version": "1",
        "title": "Sure",
        "inputs": {"ct": {"kind": "volume", "where": {"modality": "CT"}}},
        "steps": [{"name": "kind", "model": "classifier", "input": "ct", **asked}],
    }
    return "\n".join(faults(from_document(document), {"classifier": model}))


def test_a_model_that_can_say_all_of_it_has_no_faults() -> None:
    blocks = {**DENSENET, "block_config": [1, 1], "dropout_prob": 0.2}
    assert said(replace(MODEL, network_arguments=blocks), **EVERYTHING) == ""


@pytest.mark.parametrize(
    ("changes", "asked", "sentence"),
    [
        ({"network_arguments": DENSENET}, DROPOUT, "has no dropout that could be left on"),
        ({"kind": Kind.RESTORATION}, DROPOUT, "cannot say how sure it is"),
        ({"program": "configs/inference.json"}, DROPOUT, "cannot say how sure it is"),
        ({}, {"uncertainty": {"members": True}}, "is no ensemble"),
        ({}, {"uncertainty": {"flips": [2]}}, "reads 2 axes"),
        ({"options": {"flips": [0]}}, {"uncertainty": {"flips": [1]}}, "views of its own"),
        (
            {"calibration": None},
            {"uncertainty": {"temperature": "stored"}},
            "keeps no temperature",
        ),
        (
            {"calibration": Calibration(temperature=2.0)},
            {"uncertainty": {"conformal": {}}},
            "keeps no scores for prediction sets",
        ),
        (
            {},
            {"explain": {"method": "occlusion", "label": "odd"}},
            "knows well, sick, not odd",
        ),
        (
            {},
            {"explain": {"method": "grad-cam", "layer": "attic"}},
            "has no layer attic; among its last are",
        ),
        (
            {},
            {"explain": {"method": "attention"}},
            "gives its slices no attention; AttentionMIL does",
        ),
        (
            {"kind": Kind.DETECTION},
            {"explain": {"method": "grad-cam"}},
            "cannot be explained",
        ),
    ],
)
def test_what_a_model_cannot_say_is_told(
    changes: dict[str, Any], asked: dict[str, Any], sentence: str
) -> None:
    told = said(replace(MODEL, **changes), **asked)
    assert told.startswith("step kind: model classifier ")
    assert sentence in told
    assert said(**asked) == "" or not changes


def test_attention_can_be_asked_of_a_network_that_has_it() -> None:
    arguments = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "features": [4]}
    bag = replace(MODEL, network="AttentionMIL", network_arguments=arguments)
    assert said(bag, explain={"method": "attention"}) == ""


def test_members_of_an_ensemble_can_be_asked() -> None:
    ensemble = replace(MODEL, options={"members": 2})
    layer = {"method": "grad-cam", "layer": "features.conv0"}
    assert said(ensemble, uncertainty={"members": True}, explain=layer) == ""


def test_questions_about_no_layer_need_no_torch() -> None:
    code = (
        "import sys; from tests.pipeline.analysis.test_asked import said;"
        "assert not said(uncertainty={'temperature': 2.0}, explain={'method': 'occlusion'});"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
