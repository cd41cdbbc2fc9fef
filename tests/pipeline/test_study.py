"""The steps of an analysis: in order, on every input, each stopped by the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline import study
from pipeline.analysis import Analysis, from_document
from pipeline.answers import StudyResult
from pipeline.errors import ComputeFailed, Interrupted, ModelMismatch
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Measurement, Prediction, ValueMap
from pipeline.volume import Image, Input


def step(name: str, **others: Any) -> dict[str, Any]:
    return {"name": name, "model": f"model-{name}", "input": "image"} | others


def analysis(*steps: dict[str, Any], kind: str = "image") -> Analysis:
    document = {
        "name": "little",
        "version": "1",
        "title": "A little analysis",
        "inputs": {
            name: {"kind": kind, "where": {"modality": "CT"}, "each": True}
            for name in dict.fromkeys(one["input"] for one in steps)
        },
        "steps": list(steps),
    }
    return from_document(document)


class Mean:
    """A predictor that measures the mean."""

    def __init__(self, name: str) -> None:
        self.spec = ModelSpec(
            name=name,
            version="2",
            kind=Kind.CLASSIFICATION,
            title=name,
            input=InputSpec(modalities=("US",), spatial_dims=2),
            labels=(Label(number=0, name="x"),),
            digest="d" * 64,
        )

    def predict(self, image: Input, *, checkpoint: Callable[[], None]) -> Prediction:
        checkpoint()
        assert isinstance(image, Image)
        mean = float(image.pixels.mean())
        return Prediction(
            findings=(Measurement(label="mean", value=mean, unit="1"),),
            seconds={"model": 1.0},
            warnings=("dark",) * (mean < 1),
        )


def image(value: float) -> Image:
    return Image(pixels=np.full((1, 4, 4), value, np.float32))


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


def run(*steps: dict[str, Any], images: Any = None, **others: Any) -> StudyResult:
    ticks = iter(range(1000))
    stated: dict[str, Any] = {"checkpoint": go_on, "clock": lambda: float(next(ticks))}
    return study.analyze(
        analysis(*steps),
        {"image": images or [image(1)]},
        {one["name"]: Mean(one["model"]) for one in steps},
        **{**stated, **others},
    )


def test_every_step_answers_for_every_input_in_order() -> None:
    result = run(step("a"), step("b"), images=[image(1), image(2)])
    assert [(one.step, one.position) for one in result.answers] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
    ]
    assert [one.prediction.findings[0].value for one in result.of("b")] == [1.0, 2.0]  # type: ignore[union-attr]


def test_a_step_comes_after_what_it_needs() -> None:
    result = run(step("c", needs=["b"]), step("a"), step("b", needs=["a"]))
    assert [one.step for one in result.answers] == ["a", "b", "c"]


def test_a_step_without_input_is_our_fault() -> None:
    with pytest.raises(ComputeFailed, match="no model or no input"):
        run(step("a", input="other"))


def test_the_checkpoint_stops_between_steps() -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Interrupted("canceled")

    with pytest.raises(Interrupted):
        run(step("a"), step("b"), checkpoint=stop)


def test_the_report_names_models_times_and_warnings() -> None:
    report = run(step("a"), images=[image(0), image(5)]).report()
    (told,) = report["steps"]
    assert (told["model"], told["version"], told["digest"]) == ("model-a", "2", "d" * 64)
    assert told["seconds"] == 1.0
    assert [one["warnings"] for one in told["inputs"]] == [["dark"], []]
    assert report["stages"] == {"model": 2.0}
    assert report["warnings"] == ["dark"]


class Likely(Mean):
    """A predictor that keeps probabilities where it is asked to."""

    def predict_with_probabilities(
        self, image: Input, *, checkpoint: Callable[[], None]
    ) -> Prediction:
        kept = ValueMap(name="likely", values=np.ones((1, 4, 4), np.float32))
        return replace(self.predict(image, checkpoint=checkpoint), maps=(kept,))


@pytest.mark.parametrize(("keep", "count"), [((), 0), (("probabilities",), 1)])
def test_probabilities_are_kept_where_a_step_asks(keep: tuple[str, ...], count: int) -> None:
    result = study.analyze(
        analysis(step("a", keep=keep)),
        {"image": [image(1)]},
        {"a": Likely("a")},
        checkpoint=go_on,
        clock=lambda: 0.0,
    )
    assert len(result.answers[0].prediction.maps) == count


def test_a_model_that_has_no_probabilities_is_not_asked_for_them_in_silence() -> None:
    with pytest.raises(ModelMismatch, match="no probabilities"):
        run(step("a", keep=("probabilities",)))
