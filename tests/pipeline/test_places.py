"""Prepared inputs in an analysis: made once, seen by models, answered for on the series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline import study
from pipeline.analysis import Analysis, from_document
from pipeline.answers import StudyResult
from pipeline.errors import ModelMismatch
from pipeline.models.predictor import Checkpoint
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.preprocess.preparing import shape_of
from pipeline.results import Measurement, Prediction, Segment
from pipeline.volume import Channels, Image, Input, Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on
from tests.pipeline.preprocess import inputs as made


class Above:
    """A predictor of what is above 50, that remembers what it was given."""

    def __init__(self) -> None:
        self.spec = ModelSpec(
            name="above",
            version="1",
            kind=Kind.SEGMENTATION,
            title="above",
            input=InputSpec(modalities=("CT",), spatial_dims=3),
            labels=(Label(number=1, name="bright"),),
        )
        self.seen: list[Input] = []
        self.channels: list[Channels] = []

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        checkpoint()
        self.seen.append(image)
        values = image.values() if isinstance(image, Volume) else image.pixels
        found = Segment(number=1, label="bright", voxels=0, volume_ml=0.0, centroid=None)
        size = Measurement(label="largest", value=float(values.max()), unit="1")
        return Prediction(findings=(found, size), label_map=(values > 50).astype(np.uint8))

    def predict_channels(self, channels: Channels, *, checkpoint: Checkpoint) -> Prediction:
        self.channels.append(channels)
        return self.predict(channels.volumes[0], checkpoint=checkpoint)


def analysis(prepare: dict[str, Any], *steps: dict[str, Any], **rule: Any) -> Analysis:
    document = {
        "name": "prepared",
        "version": "1",
        "title": "Prepared inputs",
        "inputs": {"ct": {"kind": "volume", "where": {"modality": "CT"}, **rule}},
        "prepare": {name: {"of": "ct", "steps": steps} for name, steps in prepare.items()},
        "steps": [{"model": "above", **step} for step in steps],
    }
    return from_document(document)


def run(asked: Analysis, *series: Input) -> tuple[StudyResult, dict[str, Above]]:
    models = {step.name: Above() for step in asked.steps}
    found = study.analyze(asked, {"ct": series}, models, checkpoint=go_on, clock=lambda: 0.0)
    return found, models


def chest() -> Volume:
    """Return a volume with a block of 100 and a dot of 100 in it."""
    stored = np.zeros((12, 20, 18), np.int16)
    stored[3:8, 6:14, 5:13] = 100
    stored[10, 17, 15] = 100
    return tiny.volume(stored=stored, header=tiny.header("CT"))


TURNED = {"turned": [{"pad": {"margin_mm": 4}}, {"orient": {"to": "RAS"}}]}
SMOOTH = {"smooth": [{"median": {"radius_mm": 1.2}}]}
COARSE = {"coarse": [{"resample": {"spacing_mm": 2}}]}


def test_a_model_sees_what_was_prepared_and_answers_on_the_series() -> None:
    result, models = run(
        analysis(TURNED, {"name": "a", "input": "turned"}, {"name": "b", "input": "ct"}), chest()
    )
    (seen,) = models["a"].seen
    assert shape_of(seen) == (28, 28, 16)
    (a, b) = result.answers
    np.testing.assert_array_equal(a.prediction.label_map, b.prediction.label_map)
    assert a.image is b.image
    found = a.prediction.findings[0]
    assert isinstance(found, Segment)
    # measured again, on the series
    assert found.voxels == 5 * 8 * 8 + 1


def test_a_filter_before_a_model_changes_what_it_finds() -> None:
    result, _ = run(
        analysis(SMOOTH, {"name": "a", "input": "smooth"}, {"name": "b", "input": "ct"}), chest()
    )
    smooth, plain = (answer.prediction.label_map for answer in result.answers)
    assert plain is not None
    assert smooth is not None
    assert (plain[10, 17, 15], smooth[10, 17, 15]) == (1, 0)
    assert smooth[3:8, 7:13, 6:12].all()


def test_the_report_says_what_was_done() -> None:
    result, _ = run(analysis(COARSE, {"name": "a", "input": "coarse"}), chest())
    (told,) = result.report()["steps"][0]["inputs"][0]["prepared"]
    assert told.pop("seconds") >= 0
    assert told == {
        "input": "coarse",
        "steps": [
            {
                "step": "resample",
                "parameters": {"spacing_mm": 2.0, "interpolation": "linear"},
                "found": {},
            }
        ],
        "shape": [15, 11, 9],
        "spacing_mm": [2.0, 2.0, 2.0],
    }


def test_what_is_prepared_is_made_once_and_only_where_a_step_runs() -> None:
    large = {"large": [{"median": {"radius_voxels": 12}}]}
    unmet = {"when": {"step": "a", "value": "largest", "above": 1000}}
    asked = analysis(
        SMOOTH | large,
        {"name": "a", "input": "smooth"},
        {"name": "b", "input": "smooth"},
        {"name": "c", "input": "large", **unmet},
    )
    result, models = run(asked, chest())
    assert models["a"].seen[0] is models["b"].seen[0]
    assert [one.place.step for one in result.skipped] == ["c"]
    met = asked.document
    met["steps"][2]["when"]["above"] = 1.0
    with pytest.raises(ModelMismatch, match="median: a ball in a step is larger"):
        run(from_document(met), chest())


def test_a_prepared_input_is_cropped_to_a_mask_on_the_series() -> None:
    crop = {"crop": {"to": "mask", "margin_mm": 0, "minimum_voxels": 1}}
    source = chest()
    source.stored[10, 17, 15] = 0
    asked = analysis(
        TURNED | COARSE,
        {"name": "mask", "input": "ct"},
        {"name": "turned", "input": "turned", **crop},
        {"name": "coarse", "input": "coarse", **crop},
    )
    result, models = run(asked, source)
    (turned,), (coarse,) = models["turned"].seen, models["coarse"].seen
    # slices, rows and columns of the block, turned to columns, rows and slices
    assert shape_of(turned) == (8, 8, 5)
    assert turned.values().min() == 100  # type: ignore[union-attr]
    # 5 x 2.5, 8 x 1.1 and 8 x 0.9 mm, in voxels of 2 mm
    assert np.abs(np.array(shape_of(coarse)) * 2 - (12.5, 8.8, 7.2)).max() <= 2
    mask, exact, near = (answer.prediction.label_map for answer in result.answers)
    np.testing.assert_array_equal(exact, mask)
    assert mask is not None
    assert near is not None
    assert (near != mask).mean() < 0.05


def test_a_mask_of_a_prepared_input_crops_the_series() -> None:
    crop = {"crop": {"to": "mask", "margin_mm": 0, "minimum_voxels": 1}}
    asked = analysis(
        SMOOTH, {"name": "mask", "input": "smooth"}, {"name": "fine", "input": "ct", **crop}
    )
    _, models = run(asked, chest())
    assert shape_of(models["fine"].seen[0]) == (5, 8, 8)


def test_windows_of_one_series_are_channels_of_one_input() -> None:
    windows = {
        "soft": [{"window": {"level": 40, "width": 60}}],
        "bone": [{"window": {"level": 90, "width": 20}}],
    }
    result, models = run(analysis(windows, {"name": "a", "input": ["soft", "bone", "ct"]}), chest())
    (channels,) = models["a"].channels
    assert [float(one.values().max()) for one in channels.volumes] == [70, 100, 100]
    assert [float(one.values().min()) for one in channels.volumes] == [10, 80, 0]
    # one series lies beside no other
    header = result.answers[0].image.header
    assert header is not None
    assert header.beside == ()


def test_every_image_of_a_study_is_prepared_for_itself() -> None:
    images = [Image(pixels=np.full((1, 8, 8), value, np.float32)) for value in (40, 60)]
    asked = analysis(
        {"small": [{"resize": {"size": 4}}]},
        {"name": "a", "input": "small"},
        kind="image",
        each=True,
    )
    result, models = run(asked, *images)
    assert [shape_of(one) for one in models["a"].seen] == [(1, 4, 4)] * 2
    masks = [answer.prediction.label_map for answer in result.answers]
    assert [int(one.sum()) for one in masks if one is not None] == [0, 64]


def test_a_warning_of_a_preparation_is_a_warning_of_the_study() -> None:
    asked = analysis({"part": [{"crop": {"above": 900}}]}, {"name": "a", "input": "part"})
    result, _ = run(asked, made.volume(np.zeros((3, 8, 8), np.int16)))
    assert result.warnings == ("nothing of the image is above 900, so it was not cropped to it",)


def test_what_is_made_of_a_missing_series_is_missing_too() -> None:
    where = {"kind": "volume", "where": {"modality": "CT"}}
    document = analysis(TURNED, {"name": "a", "input": "turned"}).document
    document["steps"][0]["input"] = ["smooth", "turned"]
    document["inputs"]["late"] = {**where, "optional": True}
    document["prepare"]["smooth"] = {"of": "late", "steps": SMOOTH["smooth"]}
    model, source = Above(), chest()
    result = study.analyze(
        from_document(document),
        {"ct": [source], "late": []},
        {"a": model},
        checkpoint=go_on,
        clock=lambda: 0.0,
    )
    (channels,) = model.channels
    assert channels.present == (False, True)
    assert shape_of(channels.volumes[0]) == (28, 28, 16)
    (told,) = result.report()["steps"][0]["inputs"]
    assert told["missing"] == ["smooth"]
    assert [one["input"] for one in told["prepared"]] == ["turned"]
    # back on the series that is there
    np.testing.assert_array_equal(result.answers[0].prediction.label_map, source.stored > 50)
