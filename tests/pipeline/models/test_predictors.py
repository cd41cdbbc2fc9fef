"""Predictors: what they answer, what they refuse, and how many jobs may share them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import Interrupted, ModelMismatch, OutOfMemory
from pipeline.models import predictors, preprocess, sliding
from pipeline.models.bundle import Bundle
from pipeline.models.devices import Device, one_thread
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import InputSpec
from pipeline.volume import Image
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

Write = Callable[..., Bundle]
CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Answers 1 where the image is above a half."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([torch.full_like(image, 0.5), image], 1)


class Hungry(Brightness):
    """Runs out of memory above a batch."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error

    def forward(self, image: Tensor) -> Tensor:
        if len(image) > self.most:
            raise self.error
        return super().forward(image)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_smaller_batch_is_tried_when_memory_runs_out(error: Exception) -> None:
    predictor = SegmentationPredictor(
        tiny.unet_spec(options={"batch": 4}), Hungry(1, error), Device()
    )
    plain = SegmentationPredictor(tiny.unet_spec(), Brightness(), Device())
    image = tiny.volume((30, 30, 30))
    found = predictor.predict(image, checkpoint=go_on)
    assert found.options["batch"] == 1
    assert [warning.count("memory ran out") for warning in found.warnings] == [1, 1]
    assert found.label_map is not None
    np.testing.assert_array_equal(found.label_map, plain.predict(image, checkpoint=go_on).label_map)


def test_memory_that_never_suffices_is_said() -> None:
    predictor = SegmentationPredictor(tiny.unet_spec(), Hungry(0, MemoryError()), Device())
    with pytest.raises(OutOfMemory, match="1 window at a time on the cpu"):
        predictor.predict(tiny.volume(), checkpoint=go_on)


def test_what_a_full_device_cannot_resample_is_resampled_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor = SegmentationPredictor(tiny.unet_spec(), Brightness(), Device())
    image = tiny.volume()
    expected = predictor._prepare(image)
    resampled = preprocess._stored

    def full(*asked: Any) -> Tensor:
        if asked[-1].type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return resampled(*asked)

    monkeypatch.setattr(preprocess, "_stored", full)
    predictor._device.torch = torch.device("cuda")
    found = predictor._prepare(image)
    assert torch.equal(found.image, expected.image)
    assert found.warnings == ("memory ran out on the device while the input was resampled",)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4"])
def test_stored_values_reach_a_device_as_they_are(dtype: str) -> None:
    image = tiny.volume(stored=np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype))
    image.stored.setflags(write=False)
    bounds = [(1, 3), (0, 5), (2, 6)]
    there = preprocess._stored(image, bounds, torch.device("meta"))
    here = preprocess._stored(image, bounds, torch.device("cpu"))
    assert (there.device.type, there.dtype, there.shape) == ("meta", torch.float32, (2, 5, 4))
    np.testing.assert_array_equal(here.numpy(), image.stored[1:3, :, 2:6])


def test_other_errors_are_not_taken_for_memory() -> None:
    predictor = SegmentationPredictor(
        tiny.unet_spec(), Hungry(0, RuntimeError("shape mismatch")), Device()
    )
    with pytest.raises(RuntimeError, match="shape mismatch"):
        predictor.predict(tiny.volume(), checkpoint=go_on)


def test_a_threshold_in_a_network_labels_exactly_what_it_should() -> None:
    spec = tiny.unet_spec(
        input=InputSpec(modalities=("CT",), spatial_dims=3, window=(-100.0, 100.0), size=(16,) * 3)
    )
    image = tiny.volume((21, 18, 25))
    found = SegmentationPredictor(spec, Brightness(), Device()).predict(image, checkpoint=go_on)
    expected = image.stored > 0
    np.testing.assert_array_equal(found.label_map, expected)
    (segment,) = found.findings
    assert segment.voxels == expected.sum()
    assert segment.volume_ml == pytest.approx(expected.sum() * 0.9 * 1.1 * 2.5 / 1000)
    centre = np.argwhere(expected).mean(axis=0)
    assert segment.centroid == pytest.approx(tuple(image.to_patient(centre)))


def test_nothing_in_the_foreground_is_background_and_said() -> None:
    spec = tiny.unet_spec(options={"crop_foreground": True})
    air = tiny.volume(stored=np.full((8, 9, 10), -1000, np.int16))
    found = SegmentationPredictor(spec, Brightness(), Device()).predict(air, checkpoint=go_on)
    assert found.label_map is not None
    assert not found.label_map.any()
    assert found.findings[0].voxels == 0
    assert found.findings[0].centroid is None
    assert found.warnings == ("nothing lies above the model's window",)


@pytest.mark.parametrize("axis", range(3))
def test_what_lies_between_the_samples_of_a_coarse_grid_is_nothing(axis: int) -> None:
    stored = np.full((40, 40, 40), -1000, np.int16)
    for place in range(10, 16):
        stored[:] = -1000
        np.moveaxis(stored, axis, 0)[place : place + 2] = 200
        image = tiny.volume(stored=stored, affine=np.diag([0.6, 0.6, 0.6, 1.0]))
        spec = tiny.unet_spec(
            input=InputSpec(
                modalities=("CT",),
                spatial_dims=3,
                orientation="RAS",
                spacing=(3.0, 3.0, 3.0),
                window=(-57.0, 164.0),
                size=(16, 16, 16),
            ),
            options={"crop_foreground": True},
        )
        found = SegmentationPredictor(spec, Brightness(), Device()).predict(image, checkpoint=go_on)
        assert found.label_map is not None
        assert found.label_map.shape == stored.shape


def test_an_answer_that_is_no_number_is_no_background() -> None:
    class Overflows(nn.Module):
        """Answers what is no number for one voxel of a window."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits = torch.cat([image, image], 1)
            logits[0, 1, 8, 8, 8] = torch.nan
            return logits

    predictor = SegmentationPredictor(tiny.unet_spec(), Overflows(), Device())
    with pytest.raises(ModelMismatch, match="not finite"):
        predictor.predict(tiny.volume(), checkpoint=go_on)


def test_a_network_is_copied_elsewhere_without_room_where_it_is() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2))
    network[1].weight = network[0].bias  # shared, and so it stays
    moved = sliding.copied(network, torch.device("meta"))
    assert {one.device.type for one in moved.state_dict().values()} == {"meta"}
    assert {one.device.type for one in network.state_dict().values()} == {"cpu"}
    assert moved[1].weight is moved[0].bias


def test_cropping_changes_no_label_where_air_is_background() -> None:
    stored = np.full((20, 24, 22), -1000, np.int16)
    stored[6:15, 5:19, 8:17] = tiny.volume((9, 14, 9)).stored
    image = tiny.volume(stored=stored)
    maps = [
        SegmentationPredictor(
            tiny.unet_spec(options={"crop_foreground": crop}), Brightness(), Device()
        )
        .predict(image, checkpoint=go_on)
        .label_map
        for crop in (False, True)
    ]
    np.testing.assert_array_equal(maps[0], maps[1])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (tiny.volume(header=tiny.header("MR")), "is for CT, not for MR"),
        (tiny.volume(unit=""), "in HU"),
        (tiny.volume(affine=np.diag([0.001, 1.0, 1.0, 1.0])), "plausible"),
        (tiny.volume(affine=np.diag([40.0, 1.0, 1.0, 1.0])), "too far"),
        (tiny.volume(stored=np.full((4, 4, 4), np.nan, np.float32)), "finite"),
        (Image(pixels=np.zeros((1, 8, 8), np.float32)), "needs a volume"),
    ],
)
def test_what_does_not_fit_is_refused(image: Any, says: str) -> None:
    spec = tiny.unet_spec(
        input=InputSpec(
            modalities=("CT",),
            spatial_dims=3,
            window=(-100.0, 100.0),
            size=(16,) * 3,
            spacing=(2.0, 1.0, 1.0),
        )
    )
    with pytest.raises(ModelMismatch, match=says):
        SegmentationPredictor(spec, Brightness(), Device()).predict(image, checkpoint=go_on)


def test_a_checkpoint_stops_between_windows() -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Interrupted("canceled")

    device = Device()
    predictor = SegmentationPredictor(tiny.unet_spec(), Brightness(), device)
    with pytest.raises(Interrupted):
        predictor.predict(tiny.volume((40, 40, 40)), checkpoint=stop)
    with device.hold(go_on):
        pass  # the device was given back


def test_a_job_that_waits_for_the_device_can_be_stopped() -> None:
    device = Device()

    def stop() -> None:
        raise Interrupted("canceled")

    def wait() -> None:
        with pytest.raises(Interrupted), device.hold(stop):
            pass

    with device.hold(go_on):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(30)
        assert not waiting.is_alive()


def test_neighbours_in_a_batch_change_nothing(write_unet: Write) -> None:
    predictor = predictors.open(write_unet(), device=Device())
    assert isinstance(predictor, SegmentationPredictor)
    network = predictor._network
    generator = torch.Generator().manual_seed(0)
    one, two, three = (torch.rand(1, 1, 16, 16, 16, generator=generator) for _ in range(3))
    with torch.inference_mode():
        beside_two = network(torch.cat([one, two]))[0]
        beside_three = network(torch.cat([one, three]))[0]
    assert torch.equal(beside_two, beside_three)


def test_the_last_batch_is_as_large_as_the_others() -> None:
    seen = []

    class Watch(Brightness):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(len(image))
            return super().forward(image)

    plan = sliding.Plan(size=(8,), overlap=0.0, batch=2, device=CPU)
    stitched = sliding.run(Watch(), torch.rand(1, 24), plan, checkpoint=go_on)
    assert stitched.windows == 3
    assert seen == [2, 2]


def test_jobs_on_one_device_run_one_after_the_other(write_unet: Write) -> None:
    running, most = 0, 0

    class Watch(Brightness):
        def forward(self, image: Tensor) -> Tensor:
            nonlocal running, most
            running += 1
            most = max(most, running)
            answer = super().forward(image)
            running -= 1
            return answer

    predictor = SegmentationPredictor(tiny.unet_spec(), Watch(), Device(threads=1))
    image = tiny.volume((40, 40, 40))
    threads = [
        threading.Thread(target=predictor.predict, args=(image,), kwargs={"checkpoint": go_on})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1


@pytest.mark.parametrize("name", ["threshold-lung", "threshold-body"])
def test_shipped_rules_need_no_weights(name: str) -> None:
    from pipeline.models import bundle

    folder = Path(__file__).parents[3] / "models" / name
    assert predictors.open(bundle.load(folder), device=Device()).spec.name == name


def test_one_thread_alone_is_that_of_the_caller_only() -> None:
    seen: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]
    device = Device(threads=2)
    with one_thread():
        job = threading.Thread(
            target=lambda: (device.enter_thread(), seen.append(torch.get_num_threads()))
        )
        job.start()
        job.join(60)
    assert seen[-1] == 2
