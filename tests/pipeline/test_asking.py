"""What a step may ask beside its answer, as a document says it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from pipeline.analysis import Analysis, AnalysisInvalid, from_document, json_schema, parse
from pipeline.asking import asks

TEXT = """
name: sure
version: "1"
title: How sure, and why
inputs:
  mr: {kind: volume, where: {modality: MR}}
steps:
  - name: kind
    model: classifier
    input: mr
    uncertainty:
      monte_carlo_dropout: {samples: 5, seed: 7}
      flips: [0, 2]
      temperature: stored
      conformal: {coverage: 0.8}
    explain: {method: grad-cam, label: lesion}
"""


def asked(**changes: Any) -> Analysis:
    document = yaml.safe_load(TEXT)
    document["steps"][0].update(changes)
    return from_document(document)


def test_a_document_with_questions_survives_the_database() -> None:
    analysis = parse(TEXT)
    again = from_document(json.loads(json.dumps(analysis.document)))
    assert again == analysis
    assert again.digest == analysis.digest
    (step,) = analysis.steps
    assert step.uncertainty is not None
    assert step.uncertainty.is_sampled
    assert [one.method for one in step.explain] == ["grad-cam"]


def test_one_explanation_stands_for_a_list_of_one() -> None:
    one = {"method": "grad-cam", "label": "lesion"}
    assert asked(explain=[one]).digest == asked(explain=one).digest


def test_what_is_not_asked_is_not_in_the_document() -> None:
    document = yaml.safe_load(TEXT)
    del document["steps"][0]["uncertainty"], document["steps"][0]["explain"]
    (step,) = from_document(document).document["steps"]
    assert set(step) == {"name", "model", "input", "needs"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uncertainty": {}}, "nothing is asked"),
        ({"uncertainty": {"members": False}}, "nothing is asked"),
        ({"uncertainty": {"flips": [1, 1]}}, "names an axis twice"),
        ({"uncertainty": {"flips": [3]}}, "less than or equal to 2"),
        ({"uncertainty": {"monte_carlo_dropout": {"samples": 1}}}, "greater than or equal to 2"),
        ({"uncertainty": {"temperature": 0}}, "greater than 0"),
        ({"uncertainty": {"conformal": {"coverage": 1.0}}}, "less than 1"),
        ({"explain": {"method": "reading tea leaves"}}, "grad-cam"),
        ({"explain": {"method": "occlusion", "layer": "conv"}}, "occlusion looks at no layer"),
        ({"explain": {"method": "grad-cam", "layer": "a b"}}, "should match pattern"),
        ({"keep": ["probabilities"]}, "keeps no probabilities beside it"),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(AnalysisInvalid, match=said):
        asked(**changes)


def test_the_schema_knows_the_questions() -> None:
    known = json_schema()["$defs"]
    assert set(known["Uncertainty"]["properties"]) == {
        "monte_carlo_dropout",
        "members",
        "flips",
        "temperature",
        "conformal",
    }
    assert "integrated-gradients" in known["Explain"]["properties"]["method"]["enum"]


def test_questions_can_be_said_in_words() -> None:
    (step,) = asked(
        explain=[{"method": "grad-cam", "layer": "conv"}, {"method": "occlusion", "label": "x"}]
    ).steps
    assert list(asks(step.uncertainty, step.explain)) == [
        "how sure the model is, by monte carlo dropout, flips, temperature, conformal",
        "why, by grad-cam of the likeliest label in layer conv",
        "why, by occlusion of x",
    ]
    assert list(asks(None, ())) == []
