"""Scores of whole inputs: known networks, known answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ModelMismatch
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.models.whole_inputs import network_input
from pipeline.results import Classification, Prediction
from pipeline.volume import Image, Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import at_once, go_on


class Mean(nn.Module):
    """Logits (0, the mean of the image times 4)."""

    def forward(self, image: Tensor) -> Tensor:
        mean = image.flatten(1).mean(1)
        return torch.stack([torch.zeros_like(mean), mean * 4], 1)


def spec(options: dict[str, Any] | None = None, **changes: Any) -> ModelSpec:
    stated: dict[str, Any] = {
        "modalities": ("US", "CT"),
        "spatial_dims": 2,
        "window": (0.0, 100.0),
        "size": (16, 12),
    }
    return ModelSpec(
        name="mean",
        version="1",
        kind=Kind.CLASSIFICATION,
        title="Mean",
        input=InputSpec(**{**stated, **changes}),
        labels=(Label(number=0, name="dark"), Label(number=1, name="bright")),
        network="DenseNet",
        options=options or {},
    )


def classify(image: Any, model: ModelSpec) -> dict[str, Classification]:
    predictor = ClassificationPredictor(model, Mean(), Device())
    found = predictor.predict(image, checkpoint=go_on).findings
    return {one.label: one for one in found if isinstance(one, Classification)}


def frames(*values: float) -> Image:
    return Image(pixels=np.stack([np.full((40, 30), value, np.float32) for value in values]))


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_a_single_image_gets_the_softmax_of_its_logits() -> None:
    found = classify(frames(75), spec())
    assert found["bright"].score == pytest.approx(sigmoid(3.0), abs=1e-6)
    assert found["dark"].score + found["bright"].score == pytest.approx(1.0)
    assert found["bright"].is_top
    assert not found["dark"].is_top


@pytest.mark.parametrize(("how", "score"), [("mean", (0.5 + sigmoid(4)) / 2), ("max", sigmoid(4))])
def test_frames_are_joined_as_the_model_asks(how: str, score: float) -> None:
    options = {"frames": how, "activation": "sigmoid"}
    assert classify(frames(0, 100), spec(options))["bright"].score == pytest.approx(score)


def test_the_highest_scores_alone_are_joined_where_the_model_asks() -> None:
    options = {"frames": "top", "top": 2, "activation": "sigmoid"}
    score = (sigmoid(4) + sigmoid(2)) / 2
    assert classify(frames(0, 100, 50), spec(options))["bright"].score == pytest.approx(score)
    assert classify(frames(100), spec(options))["bright"].score == pytest.approx(sigmoid(4))


def test_the_scores_of_several_frames_are_kept_unless_the_model_says_not_to() -> None:
    found = classify(frames(0, 100), spec({"activation": "sigmoid"}))
    assert found["bright"].by_frame == pytest.approx((0.5, sigmoid(4)))
    assert found["dark"].by_frame == (0.5, 0.5)
    assert classify(frames(100), spec())["bright"].by_frame == ()
    assert classify(frames(0, 100), spec({"keep_frames": False}))["bright"].by_frame == ()


def ramp() -> Volume:
    """Slice ``s`` of twelve holds the value ``s`` everywhere, and the affine of an axial CT."""
    stored = np.broadcast_to(np.arange(12, dtype=np.int16)[:, None, None], (12, 20, 18))
    return tiny.volume(stored=np.ascontiguousarray(stored))


def test_a_network_of_two_axes_answers_for_every_slice_of_a_volume() -> None:
    options = {"keep_frames": True, "activation": "sigmoid", "frames": "max", "batch": 5}
    found = classify(ramp(), spec(options))["bright"]
    assert found.by_frame == pytest.approx([sigmoid(4 * s / 100) for s in range(12)])
    assert found.score == pytest.approx(sigmoid(0.44))


@pytest.mark.parametrize(
    ("orientation", "means"),
    [
        ("SPL", [s / 100 for s in range(12)]),
        ("IPL", [s / 100 for s in reversed(range(12))]),
        ("LPS", [0.055] * 18),
    ],
)
def test_the_planes_of_a_volume_are_those_the_model_asks_for(
    orientation: str, means: list[float]
) -> None:
    model = spec(orientation=orientation, size=(20, 18) if orientation != "LPS" else (20, 12))
    planes = network_input(ramp(), model)
    assert planes.mean((1, 2, 3)).tolist() == pytest.approx(means)
    with pytest.raises(ModelMismatch, match="needs a volume"):
        classify(frames(1), model)


def test_several_inputs_together_get_the_answers_they_get_alone() -> None:
    images = [frames(*range(n + 1)) for n in range(5)]
    predictor = ClassificationPredictor(spec({"batch": 3}), Mean(), Device())
    together = predictor.predict_many(images, checkpoint=go_on)
    for image, found in zip(images, together, strict=True):
        alone = predictor.predict(image, checkpoint=go_on)
        for one, other in zip(found.findings, alone.findings, strict=True):
            assert isinstance(one, Classification)
            assert isinstance(other, Classification)
            assert one.score == pytest.approx(other.score, abs=1e-6)
        assert found.options["frames"] == len(image.pixels)
    assert together[0].options["together"] == 1 + 2 + 3


def in_company(network: nn.Module, images: Sequence[Image]) -> list[object]:
    """Ask for each image in a thread of its own; the device is held until all of them wait."""
    device = Device()
    predictor = ClassificationPredictor(spec(), network, device)
    is_held = threading.Event()
    waits = [threading.Event() for _ in images]

    def hold() -> None:
        with device.hold(go_on):
            is_held.set()
            assert all(one.wait(30) for one in waits)

    def ask(image: Image, waiting: threading.Event) -> Prediction:
        assert is_held.wait(30)
        return predictor.predict(image, checkpoint=waiting.set)

    asks = (partial(ask, image, one) for image, one in zip(images, waits, strict=True))
    return at_once(hold, *asks)[1:]


def bright(said: object) -> float:
    assert isinstance(said, Prediction), said
    return next(float(one.score) for one in said.findings if one.label == "bright")


def test_jobs_share_a_pass_whatever_the_size_of_their_images() -> None:
    small, several = frames(25), frames(0, 100)
    large = Image(pixels=np.full((1, 300, 400), 75, np.float32))  # prepared by its own thread
    said = in_company(Mean(), [small, several, large])
    expected = [sigmoid(1), (0.5 + sigmoid(4)) / 2, sigmoid(3)]
    assert list(map(bright, said)) == pytest.approx(expected)
    for one, count in zip(said, (1, 2, 1), strict=True):
        assert isinstance(one, Prediction)
        assert one.options["together"] == 4
        assert one.options["frames"] == count
        assert set(one.seconds) == {"preprocess", "wait", "model"}
        assert one.seconds["wait"] > 0.05  # until all waited
        assert one.seconds["model"] < one.seconds["wait"]


def test_an_answer_that_is_not_finite_costs_one_job_of_a_pass() -> None:
    class Breaking(Mean):
        def forward(self, image: Tensor) -> Tensor:
            logits = super().forward(image)
            return torch.where(logits.sum(1, keepdim=True) > 3.5, torch.nan, logits)

    said = in_company(Breaking(), [frames(25), frames(100), frames(50)])
    assert isinstance(said[1], ModelMismatch)
    assert [bright(one) for one in said[::2]] == pytest.approx([sigmoid(1), sigmoid(2)])


def test_a_smaller_batch_is_tried_when_memory_runs_out() -> None:
    class Hungry(Mean):
        def forward(self, image: Tensor) -> Tensor:
            if len(image) > 2:
                raise MemoryError
            return super().forward(image)

    found = ClassificationPredictor(spec({"batch": 8}), Hungry(), Device()).predict(
        frames(*[100] * 9), checkpoint=go_on
    )
    assert found.options["batch"] == 2
    assert found.warnings == (
        "memory ran out with 8 windows at a time on the cpu",
        "memory ran out with 4 windows at a time on the cpu",
    )


def test_frames_beyond_one_batch_are_all_seen() -> None:
    options = {"frames": "max", "activation": "sigmoid", "batch": 2}
    found = classify(frames(0, 0, 0, 0, 100), spec(options))
    assert found["bright"].score == pytest.approx(sigmoid(4))


def test_colour_is_three_channels_between_0_and_255() -> None:
    image = Image(pixels=np.full((1, 20, 20, 3), 255, np.uint8))
    model = spec(channels=3, window=None)
    assert network_input(image, model).shape == (1, 3, 16, 12)
    assert classify(image, model)["bright"].score == pytest.approx(sigmoid(4))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image(pixels=np.zeros((1, 9, 9, 3), np.uint8)), "needs 1 channels, the image has 3"),
        (Image(pixels=np.zeros((1, 9, 9), np.float32), header=tiny.header("XA")), "not for XA"),
        (Image(pixels=np.full((1, 9, 9), np.inf, np.float32)), "finite"),
        (tiny.volume(unit=""), "in HU"),
    ],
)
def test_what_does_not_fit_is_refused(image: Any, says: str) -> None:
    with pytest.raises(ModelMismatch, match=says):
        classify(image, spec())


def test_a_volume_is_stretched_to_the_size_of_the_model() -> None:
    model = spec(spatial_dims=3, size=(8, 10, 12))
    image = tiny.volume(stored=np.full((12, 20, 18), 50, np.int16))
    assert network_input(image, model).shape == (1, 1, 8, 10, 12)
    assert classify(image, model)["bright"].score == pytest.approx(sigmoid(2.0), abs=1e-6)


def climbing(frames: int) -> Image:
    """Return a loop whose frames become brighter, from 0 to 100; their mean is 50."""
    ramp = np.linspace(0, 100, frames, dtype=np.float32)
    return Image(pixels=np.broadcast_to(ramp[:, None, None], (frames, 20, 18)).copy())


@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_a_loop_is_one_sequence_to_a_network_of_three_axes(fit: str) -> None:
    model = spec({"fit": fit}, spatial_dims=3, size=(8, 10, 12))
    image = climbing(12)
    as_volume = tiny.volume(stored=image.pixels, affine=np.eye(4))
    seen = network_input(image, model)
    assert seen.shape == (1, 1, 8, 10, 12)
    assert torch.equal(seen, network_input(as_volume, model))
    assert bool((seen[0, 0].diff(dim=0) > 0).all())


def test_loops_of_all_lengths_get_one_score_for_each_label_together_and_alone() -> None:
    model = spec(spatial_dims=3, size=(8, 10, 12))
    large = Image(pixels=np.full((40, 50, 40), 75, np.float32))
    loops = [climbing(8), climbing(9), large]
    predictor = ClassificationPredictor(model, Mean(), Device())
    together = predictor.predict_many(loops, checkpoint=go_on)
    for image, prediction, mean in zip(loops, together, (0.5, 0.5, 0.75), strict=True):
        alone = predictor.predict(image, checkpoint=go_on)
        assert prediction.options["frames"] == alone.options["frames"] == 1
        assert prediction.findings == alone.findings
        bright = prediction.findings[1]
        assert isinstance(bright, Classification)
        assert bright.score == pytest.approx(sigmoid(4 * mean), abs=1e-6)
        assert bright.by_frame == ()


def test_colours_of_a_loop_are_the_channels_of_its_sequence() -> None:
    pixels = np.zeros((4, 20, 20, 3), np.uint8)
    pixels[..., 1] = 255
    model = spec(channels=3, window=None, spatial_dims=3, size=(8, 10, 12))
    assert network_input(Image(pixels=pixels), model).mean((0, 2, 3, 4)).tolist() == [0, 1, 0]
    assert classify(Image(pixels=pixels), model)["bright"].score == pytest.approx(sigmoid(4 / 3))


@pytest.mark.parametrize(
    ("frames", "places"),
    [(1, {}), (4, {"orientation": "RAS"}), (4, {"spacing": (1.0, 1.0, 1.0)})],
    ids=["one frame", "a side of the patient", "millimetres"],
)
def test_what_needs_places_in_a_patient_or_several_frames_says_so(
    frames: int, places: dict[str, Any]
) -> None:
    model = spec(spatial_dims=3, size=(8, 10, 12), **places)
    with pytest.raises(ModelMismatch, match="needs a volume"):
        classify(climbing(frames), model)


def test_a_centre_crop_keeps_the_middle_and_pads_with_zeros() -> None:
    stored = np.zeros((12, 20, 4), np.int16)
    stored[4:8, 8:12] = 100
    model = spec({"fit": "crop"}, spatial_dims=3, size=(4, 4, 8))
    seen = network_input(tiny.volume(stored=stored), model)[0, 0]
    assert seen.shape == (4, 4, 8)
    assert bool((seen[:, :, 2:6] == 1).all())
    assert float(seen.sum()) == 4 * 4 * 4


def test_without_a_window_the_foreground_spans_0_to_1() -> None:
    pixels = np.zeros((1, 50, 50), np.float32)
    pixels[0, 10:40, 10:40] = np.random.default_rng(0).normal(1000, 50, (30, 30))
    scaled = network_input(Image(pixels=pixels), spec(window=None, size=(50, 50))).numpy()
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert abs(np.median(scaled[0, 0, 10:40, 10:40]) - 0.5) < 0.05


def test_answers_that_are_not_finite_are_refused() -> None:
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.full((len(image), 2), float("nan"))

    with pytest.raises(ModelMismatch, match="not finite"):
        ClassificationPredictor(spec(), Broken(), Device()).predict(frames(1), checkpoint=go_on)
