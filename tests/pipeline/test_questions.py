"""A step's questions reach its model, and what it cannot say is refused."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from pipeline import study
from pipeline.analysis import from_document
from pipeline.answers import StudyResult
from pipeline.errors import ModelMismatch
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.models.threshold import ThresholdPredictor
from pipeline.results import Classification, Measurement
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

CLASSIFIER = ModelSpec(
    name="kind",
    version="1",
    kind=Kind.CLASSIFICATION,
    title="Kind",
    input=InputSpec(modalities=("CT",), spatial_dims=3, window=(-1000.0, 400.0), size=(8, 8, 8)),
    labels=(Label(number=0, name="well"), Label(number=1, name="sick")),
    network="DenseNet",
)
DROPOUT = {"monte_carlo_dropout": {"samples": 4, "seed": 1}}


def network(*tail: nn.Module) -> nn.Module:
    head = nn.Conv3d(1, 4, 3), nn.ReLU(), nn.Dropout(0.5)
    return nn.Sequential(*head, *tail).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def classifier() -> ClassificationPredictor:
    tail = nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)
    return ClassificationPredictor(CLASSIFIER, network(*tail), Device())


def run(predictor: Predictor, *others: dict[str, Any], **asked: Any) -> StudyResult:
    steps = [{"name": "first", "model": "first", "input": "ct", **asked}, *others]
    document = {
        "name": "little",
        "version": "1",
        "title": "Little",
        "inputs": {"ct": {"kind": "volume", "where": {"modality": "CT"}}},
        "steps": steps,
    }
    return study.analyze(
        from_document(document),
        {"ct": [tiny.volume()]},
        {one["name"]: predictor for one in steps},
        checkpoint=go_on,
        clock=lambda: 0.0,
    )


def test_a_step_says_how_sure_and_why(classifier: ClassificationPredictor) -> None:
    explain = [{"method": "grad-cam"}, {"method": "occlusion", "label": "well"}]
    (answer,) = run(classifier, uncertainty=DROPOUT, explain=explain).answers
    top = next(
        one for one in answer.prediction.findings if isinstance(one, Classification) and one.is_top
    )
    measured = {one.label for one in answer.prediction.findings if isinstance(one, Measurement)}
    assert {"predictive entropy", "standard deviation of sick"} <= measured
    names = [one.name for one in answer.prediction.maps]
    assert names == [f"grad-cam of {top.label}", "occlusion of well"]
    assert all(one.values.shape == (12, 20, 18) for one in answer.prediction.maps)


def test_the_run_report_tells_what_was_asked(classifier: ClassificationPredictor) -> None:
    explain = {"method": "grad-cam", "layer": "0"}
    result = run(classifier, uncertainty=DROPOUT, explain=explain)
    (told,) = result.report()["steps"][0]["inputs"]
    assert told["options"]["uncertainty"] == DROPOUT
    assert told["options"]["explain"] == [explain]
    assert told["seconds"]["explain"] >= 0


def test_the_same_question_has_the_same_answer(classifier: ClassificationPredictor) -> None:
    first, again = (
        run(classifier, uncertainty=DROPOUT, explain={"method": "grad-cam++"}).answers[0].prediction
        for _ in range(2)
    )
    assert first.findings == again.findings
    assert first.maps[0].values.tobytes() == again.maps[0].values.tobytes()


def test_a_step_may_run_only_where_another_is_unsure(classifier: ClassificationPredictor) -> None:
    def second(bound: str) -> dict[str, Any]:
        asks = {"step": "first", "value": "predictive entropy", bound: 0.2}
        return {"name": "second", "model": "second", "input": "ct", "when": asks}

    unsure = run(classifier, second("above"), uncertainty={"temperature": 50.0})
    assert [one.step for one in unsure.answers] == ["first", "second"]
    sure = run(classifier, second("below"), uncertainty={"temperature": 50.0})
    assert [one.step for one in sure.answers] == ["first"]


def test_of_a_cropped_step_maps_lie_on_the_whole_grid() -> None:
    spec = tiny.unet_spec()
    predictor = SegmentationPredictor(spec, network(nn.ConvTranspose3d(4, 2, 3)), Device())
    cropped = {
        "name": "second",
        "model": "second",
        "input": "ct",
        "uncertainty": DROPOUT,
        "crop": {"to": "first", "margin_mm": 0, "minimum_voxels": 1},
    }
    last = run(predictor, cropped).answers[-1]
    assert last.step == "second"
    assert [one.values.shape for one in last.prediction.maps] == [(12, 20, 18)] * 2
    assert last.prediction.maps[0].values.max() > 0


@pytest.mark.parametrize("asked", [{"uncertainty": DROPOUT}, {"explain": {"method": "grad-cam"}}])
def test_a_model_that_cannot_say_is_refused(asked: dict[str, Any]) -> None:
    spec = ModelSpec(
        name="threshold",
        version="1",
        kind=Kind.THRESHOLD,
        title="Threshold",
        input=InputSpec(modalities=("CT",), spatial_dims=3),
        labels=(Label(number=1, name="body"),),
        options={"region": "body"},
    )
    with pytest.raises(ModelMismatch, match="cannot"):
        run(ThresholdPredictor(spec), **asked)
