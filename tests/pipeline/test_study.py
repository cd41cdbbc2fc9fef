"""The steps of an analysis: in order, on every input, each stopped by the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline import study
from pipeline.analysis import Analysis, from_document
from pipeline.answers import StudyResult
from pipeline.errors import ComputeFailed, Interrupted, ModelMismatch, StudyRejected
from pipeline.models import measures
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.reasons import Reason
from pipeline.results import Measurement, Prediction, ValueMap
from pipeline.volume import Channels, Image, Input, SourceHeader, SourceInstance, Volume


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
    assert report["floor"] == {
        "model_seconds": 2.0,
        "windows": 0,
        "seconds_per_window": None,
        "share": 1.0,
    }
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


class Level(Mean):
    """A predictor that measures the mean of a volume."""

    def predict(self, image: Input, *, checkpoint: Callable[[], None]) -> Prediction:
        checkpoint()
        assert isinstance(image, Volume)
        mean = float(image.values().mean())
        return Prediction(findings=(Measurement(label="mean", value=mean, unit="1"),))


class Threshold:
    """A predictor of one segment, what is above a level, that remembers what it saw."""

    def __init__(self, level: float) -> None:
        self.spec = ModelSpec(
            name="threshold",
            version="1",
            kind=Kind.THRESHOLD,
            title="threshold",
            input=InputSpec(modalities=("CT",), spatial_dims=3),
            labels=(Label(number=1, name="bright"),),
        )
        self._level = level
        self.seen: list[Volume] = []

    def predict(self, image: Input, *, checkpoint: Callable[[], None]) -> Prediction:
        checkpoint()
        assert isinstance(image, Volume)
        self.seen.append(image)
        label_map = (image.values() > self._level).astype(np.uint8)
        found = measures.segments(label_map, image, self.spec.labels)
        return Prediction(findings=found, label_map=label_map)


def spot(value: int) -> Volume:
    """A volume of 1 mm voxels with one spot of a value in it."""
    stored = np.zeros((20, 20, 20), np.int16)
    stored[4:8, 9:12, 10:15] = value
    return Volume(stored=stored, affine=np.eye(4))


CROPPED = {"crop": {"to": "mask", "margin_mm": 2, "minimum_voxels": 4}}
BRIGHT = {"when": {"step": "mask", "volume_ml": "bright", "above": 0.05}}


def chain(
    *steps: dict[str, Any], images: list[Volume], levels: dict[str, float] | None = None
) -> tuple[StudyResult, dict[str, Threshold]]:
    made = {one["name"]: Threshold((levels or {}).get(one["name"], 10)) for one in steps}
    result = study.analyze(
        analysis(*steps, kind="volume"),
        {"image": images},
        made,
        checkpoint=go_on,
        clock=lambda: 0.0,
    )
    return result, made


def test_a_cropped_step_sees_the_box_and_answers_on_the_whole() -> None:
    result, models = chain(step("fine", **CROPPED), step("mask"), images=[spot(50)])
    (seen,) = models["fine"].seen
    assert seen.stored.shape == (8, 7, 9)
    (mask,), (fine,) = result.of("mask"), result.of("fine")
    np.testing.assert_array_equal(fine.prediction.label_map, mask.prediction.label_map)
    assert fine.prediction.findings == mask.prediction.findings
    assert fine.image is mask.image
    (told,) = result.report()["steps"][1]["inputs"]
    assert told["crop"] == {
        "to": "mask",
        "segments": None,
        "margin_mm": 2.0,
        "box": [2, 7, 8, 10, 14, 17],
        "first_mm": [2.0, 7.0, 8.0],
        "size_mm": [8.0, 7.0, 9.0],
    }


def test_an_empty_mask_skips_the_step_and_what_comes_after_it() -> None:
    result, models = chain(
        step("mask"), step("fine", **CROPPED), step("last", needs=["fine"]), images=[spot(5)]
    )
    assert models["fine"].seen == models["last"].seen == []
    assert [(one.place.step, one.because) for one in result.skipped] == [
        ("fine", "the mask of step mask is empty"),
        ("last", "step fine was skipped"),
    ]
    assert [(one["step"], one["ran"]) for one in result.report()["steps"]] == [
        ("mask", True),
        ("fine", False),
        ("last", False),
    ]


def test_an_empty_mask_can_mean_the_whole_input() -> None:
    crop = {"crop": {"to": "mask", "empty": "whole"}}
    result, models = chain(step("mask"), step("fine", **crop), images=[spot(5)])
    assert models["fine"].seen == [result.answers[0].image]
    assert result.warnings == ("the mask of step mask is empty: step fine saw the whole input",)
    assert result.report()["steps"][1]["inputs"][0]["crop"]["box"] is None


def test_an_empty_mask_can_reject_the_job() -> None:
    crop = {"crop": {"to": "mask", "empty": "reject"}}
    with pytest.raises(StudyRejected) as rejected:
        chain(step("mask"), step("fine", **crop), images=[spot(5)])
    assert rejected.value.reason is Reason.MODEL_EMPTY_MASK


def test_a_condition_is_asked_of_each_input_for_itself() -> None:
    result, _ = chain(step("mask"), step("fine", **BRIGHT), images=[spot(50), spot(5), spot(60)])
    assert [one.position for one in result.of("fine")] == [0, 2]
    (skipped,) = result.skipped
    assert skipped.place.position == 1
    assert skipped.because == ("volume in mL of bright in step mask is 0, wanted above 0.05")
    told = result.report()["steps"][1]
    assert told["ran"]
    assert [one["when"]["actual"] for one in told["inputs"]] == [0.06, 0.06]
    assert told["skipped"][0]["when"]["holds"] is False


def test_a_crop_to_what_makes_no_mask_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="cannot be cropped to mask: it makes no mask"):
        study.analyze(
            analysis(step("mask"), step("fine", **CROPPED), kind="volume"),
            {"image": [spot(50)]},
            {"mask": Level("level"), "fine": Threshold(10)},
            checkpoint=go_on,
            clock=lambda: 0.0,
        )


def test_inputs_of_one_step_are_answered_together_where_the_model_takes_many() -> None:
    class Many(Mean):
        calls = 0

        def predict_many(
            self, images: list[Input], *, checkpoint: Callable[[], None]
        ) -> list[Prediction]:
            self.calls += 1
            return [self.predict(one, checkpoint=checkpoint) for one in images]

    many = Many("model-a")
    result = study.analyze(
        analysis(step("a")),
        {"image": [image(1), image(2), image(3)]},
        {"a": many},
        checkpoint=go_on,
        clock=lambda: 0.0,
    )
    assert many.calls == 1
    said = [answer.prediction.findings[0] for answer in result.answers]
    assert [one.value for one in said if isinstance(one, Measurement)] == [1, 2, 3]
    assert [answer.position for answer in result.answers] == [0, 1, 2]


def headed(volume: Volume, series: str) -> Volume:
    """Return a volume of a series of one study and frame of reference."""
    instances = tuple(
        SourceInstance(sop_class_uid="1.2", sop_instance_uid=f"{series}.{number}")
        for number in range(len(volume.stored))
    )
    header = SourceHeader(
        template=b"",
        instances=instances,
        study_instance_uid="1",
        series_instance_uid=series,
        frame_of_reference_uid="1.9",
        modality="MR",
    )
    return replace(volume, header=header)


SPOTS = {"a": spot(1), "b": spot(2)}


class Sum(Threshold):
    """A predictor that sees where the sum of its channels is above a level."""

    def __init__(self, level: float) -> None:
        super().__init__(level)
        self.present: list[tuple[bool, ...]] = []

    def predict_channels(self, channels: Channels, *, checkpoint: Callable[[], None]) -> Prediction:
        first = channels.volumes[0]
        self.present.append(channels.present)
        total = np.sum([one.values() for one in channels.volumes], axis=0)
        self.seen += channels.volumes
        return self.predict(
            replace(first, stored=total, slope=1, intercept=0), checkpoint=checkpoint
        )


def several(
    *steps: dict[str, Any],
    inputs: Mapping[str, Volume | None],
    models: dict[str, Threshold] | None = None,
    missing: tuple[str, ...] = (),
    **policies: str,
) -> tuple[StudyResult, dict[str, Threshold]]:
    where = {"kind": "volume", "where": {"modality": "MR"}}
    optional = {**where, "optional": True}
    document = {
        "name": "several",
        "version": "1",
        "title": "Several series as one input",
        "inputs": dict.fromkeys(inputs, where) | dict.fromkeys(missing, optional),
        "steps": list(steps),
        "policies": policies,
    }
    models = models or {one["name"]: Sum(one.pop("level", 10)) for one in steps}
    result = study.analyze(
        from_document(document),
        {
            **{name: [volume] if volume else [] for name, volume in inputs.items()},
            **{name: [] for name in missing},
        },
        models,
        checkpoint=go_on,
        clock=lambda: 0.0,
    )
    return result, models


def test_a_step_sees_several_series_as_channels_in_its_order() -> None:
    t1, t2 = headed(spot(6), "1.1"), headed(spot(7), "1.2")
    result, models = several(step("sum", input=["t2", "t1"]), inputs={"t1": t1, "t2": t2})
    assert models["sum"].seen[:2] == [t2, t1]
    (answer,) = result.answers
    # neither alone is above the level
    np.testing.assert_array_equal(answer.prediction.label_map, t1.stored > 0)
    (told,) = result.report()["steps"][0]["inputs"]
    assert told["series_instance_uid"] == answer.series_instance_uid == "1.2"
    assert told["channels"] == [
        {"input": "t2", "series_instance_uid": "1.2"},
        {"input": "t1", "series_instance_uid": "1.1"},
    ]
    header = answer.image.header
    assert header is not None
    assert [header.series_instance_uid, *(one.series_instance_uid for one in header.beside)] == [
        "1.2",
        "1.1",
    ]


def test_channels_are_cropped_together_to_the_mask_of_the_first() -> None:
    result, models = several(
        step("mask", input="t1", level=5),
        step("both", input=["t1", "t2"], **CROPPED),
        step("again", input="t1", crop={"to": "both", "margin_mm": 0, "minimum_voxels": 1}),
        inputs={"t1": spot(6), "t2": spot(7)},
    )
    assert [one.stored.shape for one in models["both"].seen[:2]] == [(8, 7, 9)] * 2
    (both,) = result.of("both")
    np.testing.assert_array_equal(both.prediction.label_map, spot(1).stored)
    assert models["again"].seen[0].stored.shape == (4, 3, 5)


def test_series_on_several_grids_are_refused_or_resampled_once_for_all_steps() -> None:
    t1, t2 = headed(spot(6), "1.1"), headed(spot(7), "1.2")
    moved = t2.affine.copy()
    moved[0, 3] = 1
    inputs = {"t1": t1, "t2": replace(t2, affine=moved)}
    steps = [step("one", input=["t1", "t2"]), step("two", input=["t1", "t2"])]
    with pytest.raises(StudyRejected, match="input t2 lies up to 1 mm away"):
        several(*map(dict, steps), inputs=inputs)
    result, models = several(*steps, inputs=inputs, channel_grid="resample")
    seen = models["one"].seen[1]
    # a slice of 1 mm further on
    np.testing.assert_array_equal(seen.values()[5:9, 9:12, 10:15], 7)
    assert models["two"].seen[1] is seen
    (said,) = result.warnings
    assert said.startswith("input t2 was resampled linearly onto the grid of the first series")
    assert [answer.image.warnings for answer in result.answers] == [(), ()]


def test_a_model_of_one_series_is_not_given_several() -> None:
    with pytest.raises(ModelMismatch, match="model threshold reads one series, not 2"):
        several(step("both", input=["a", "b"]), inputs=SPOTS, models={"both": Threshold(1)})


def test_of_several_series_no_probabilities_are_kept() -> None:
    with pytest.raises(ModelMismatch, match="keeps no probabilities of several series"):
        several(step("both", input=["a", "b"], keep=["probabilities"]), inputs=SPOTS)


def test_a_step_runs_without_an_optional_series_and_says_so() -> None:
    t1, t2 = headed(spot(6), "1.1"), headed(spot(7), "1.2")
    steps = [step("fused", input=["first", "t1", "last", "t2"]), step("two", input=["t1", "t2"])]
    result, models = several(*steps, inputs={"t1": t1, "t2": t2}, missing=("first", "last"))
    fused, two = (models[name] for name in ("fused", "two"))
    assert isinstance(fused, Sum)
    assert isinstance(two, Sum)
    assert fused.present == [(False, True, False, True)]
    assert two.present == [(True, True)]
    answer = result.answers[0]
    # on the grid of the first that is there
    assert answer.series_instance_uid == "1.1"
    np.testing.assert_array_equal(answer.prediction.label_map, t1.stored > 0)
    told, other = (one["inputs"][0] for one in result.report()["steps"])
    assert told["missing"] == ["first", "last"]
    assert told["channels"] == [
        {"input": "first", "series_instance_uid": None},
        {"input": "t1", "series_instance_uid": "1.1"},
        {"input": "last", "series_instance_uid": None},
        {"input": "t2", "series_instance_uid": "1.2"},
    ]
    assert told["warnings"] == [
        "there is no series for the optional input first",
        "there is no series for the optional input last",
    ]
    assert (other["missing"], other["warnings"]) == ([], [])


def test_what_is_missing_stays_missing_in_a_crop() -> None:
    result, models = several(
        step("mask", input="t1", level=5),
        step("fused", input=["t1", "late", "t2"], **CROPPED),
        inputs={"t1": spot(6), "t2": spot(7)},
        missing=("late",),
    )
    fused = models["fused"]
    assert isinstance(fused, Sum)
    assert fused.present == [(True, False, True)]
    assert [one.stored.shape for one in fused.seen[:2]] == [(8, 7, 9)] * 2
    (answer,) = result.of("fused")
    np.testing.assert_array_equal(answer.prediction.label_map, spot(1).stored)


def test_one_series_of_several_is_still_a_channel() -> None:
    result, models = several(
        step("fused", input=["first", "t1"], level=5), inputs={"t1": spot(6)}, missing=("first",)
    )
    fused = models["fused"]
    assert isinstance(fused, Sum)
    assert fused.present == [(False, True)]
    assert len(result.answers) == 1


def test_a_step_that_has_no_series_at_all_is_our_fault() -> None:
    steps = [step("fused", input=["first", "last"]), step("one", input="t1")]
    with pytest.raises(ComputeFailed, match="step fused has no model or no input"):
        several(*steps, inputs={"t1": spot(6)}, missing=("first", "last"))


def test_what_is_not_optional_is_not_missing() -> None:
    with pytest.raises(ComputeFailed, match="step both has no model or no input"):
        several(step("both", input=["t1", "t2"]), inputs={"t1": spot(6), "t2": None})
