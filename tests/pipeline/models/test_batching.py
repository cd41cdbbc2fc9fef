"""Windows of several images in one batch: full batches, the same bits, nobody harmed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import Interrupted
from pipeline.models import predictors, sliding
from pipeline.models.batching import Queue
from pipeline.models.bundle import Bundle
from pipeline.models.devices import Device
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.stitching import Blocks, Box, Sweep
from pipeline.results import Prediction
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

Write = Callable[..., Bundle]
#: three windows of 8 voxels
LONG = 24
WITHIN = 60


class Gate(nn.Module):
    """Doubles its input; the first call waits until the test lets it go on."""

    def __init__(self, broken: BaseException | None = None) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()
        self.batches: list[list[float]] = []
        self.broken = broken

    def forward(self, pixels: Tensor) -> Tensor:
        self.entered.set()
        assert self.released.wait(WITHIN)
        self.batches.append([float(one.flatten()[0]) for one in pixels])
        if self.broken is not None and len(self.batches) == 2:
            raise self.broken
        return 2 * pixels


class Passing(threading.Thread):
    """Passes an image of one value over a network and keeps what comes of it."""

    def __init__(
        self, network: nn.Module, queue: Queue, value: float, checkpoint: Callable[[], None] = go_on
    ) -> None:
        super().__init__()
        self.logits: list[Tensor] = []
        self.passed: sliding.Passed | None = None
        self.error: BaseException | None = None
        self._arguments = network, torch.full((1, LONG), value)
        self._queue, self._checkpoint = queue, checkpoint

    def run(self) -> None:
        plan = sliding.Plan(size=(8,), overlap=0.0, batch=2, device=torch.device("cpu"))
        sweep = Sweep(axes=(0,), room=2**40, finish=lambda _, logits: self.logits.append(logits))
        try:
            self.passed = sliding.pass_over(
                *self._arguments, plan, sweep=sweep, checkpoint=self._checkpoint, queue=self._queue
            )
        except (RuntimeError, Interrupted, MemoryError) as error:
            self.error = error

    def says(self, value: float) -> bool:
        """Whether the image came back doubled."""
        return torch.equal(self.logits[-1], torch.full((1, LONG), 2 * value))


def start(gate: Gate, queue: Queue, passings: Sequence[Passing]) -> None:
    """Start the first and let it hold the device; then the others, one after the other."""
    passings[0].start()
    assert gate.entered.wait(WITHIN)
    for number, passing in enumerate(passings[1:], start=2):
        passing.start()
        while len(queue._waiting) < number:
            pass


def test_the_last_batch_takes_a_window_of_who_waits() -> None:
    gate, queue = Gate(), Queue(Device(threads=1))
    passings = [Passing(gate, queue, value) for value in (1.0, 2.0)]
    start(gate, queue, passings)
    gate.released.set()
    for passing in passings:
        passing.join(WITHIN)
    # six windows in three batches; each alone would have taken two of its own
    assert gate.batches == [[1, 1], [1, 2], [2, 2]]
    assert passings[0].says(1.0)
    assert passings[1].says(2.0)
    assert [passing.passed.windows for passing in passings if passing.passed] == [3, 3]


def test_an_image_alone_repeats_its_last_window() -> None:
    gate, queue = Gate(), Queue(Device(threads=1))
    gate.released.set()
    passing = Passing(gate, queue, 3.0)
    passing.start()
    passing.join(WITHIN)
    assert gate.batches == [[3, 3], [3, 3]]


def test_who_waits_can_be_stopped_and_harms_nobody() -> None:
    gate, queue = Gate(), Queue(Device(threads=1))

    def stop() -> None:
        raise Interrupted("canceled")

    passings = [Passing(gate, queue, 1.0), Passing(gate, queue, 2.0, stop)]
    start(gate, queue, passings)
    passings[1].join(WITHIN)
    assert isinstance(passings[1].error, Interrupted)
    gate.released.set()
    passings[0].join(WITHIN)
    assert passings[0].says(1.0)
    assert gate.batches == [[1, 1], [1, 1]]


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError()])
def test_who_lent_a_window_to_a_batch_that_failed_loses_nothing(error: BaseException) -> None:
    gate, queue = Gate(error), Queue(Device(threads=1))
    passings = [Passing(gate, queue, value) for value in (1.0, 2.0)]
    start(gate, queue, passings)
    gate.released.set()
    for passing in passings:
        passing.join(WITHIN)
    assert gate.batches[1] == [1, 2]
    assert passings[1].says(2.0)
    if isinstance(error, MemoryError):
        assert passings[0].says(1.0)
        assert passings[0].passed is not None
        assert passings[0].passed.plan.batch == 1
    else:
        assert passings[0].error is error


def test_a_sum_that_failed_halfway_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, queue = Gate(), Queue(Device(threads=1))
    add, answers = Blocks.add, []

    def fails_once(blocks: Blocks, window: Box, answer: Tensor, weight: Tensor) -> None:
        add(blocks, window, answer, weight)
        answers.append(float(answer.flatten()[0]))
        if answers[-1] == 4.0 and answers.count(4.0) == 1:  # lent by the second image
            raise MemoryError

    monkeypatch.setattr(Blocks, "add", fails_once)
    passings = [Passing(gate, queue, value) for value in (1.0, 2.0)]
    start(gate, queue, passings)
    gate.released.set()
    for passing in passings:
        passing.join(WITHIN)
    assert all(passing.says(value) for value, passing in zip((1.0, 2.0), passings, strict=True))
    # the first began anew, one window at a time; the second had to as well
    assert gate.batches == [[1, 1], [1, 2], [1], [1], [1], [2, 2], [2, 2]]


def test_windows_of_many_are_all_run_and_once_each() -> None:
    gate, queue = Gate(), Queue(Device(threads=1))
    passings = [Passing(gate, queue, float(value)) for value in range(1, 8)]
    start(gate, queue, passings)
    gate.released.set()
    for passing in passings:
        passing.join(WITHIN)
    assert all(passing.says(value) for value, passing in enumerate(passings, start=1))
    run = sorted(value for batch in gate.batches for value in batch)
    # 21 windows: one slot of the 22 repeats the last
    assert len(run) == 22
    assert not queue._waiting


def test_seconds_of_a_shared_call_are_divided_by_windows() -> None:
    class Slow(Gate):
        def forward(self, pixels: Tensor) -> Tensor:
            answer = super().forward(pixels)
            time.sleep(0.2)
            return answer

    gate, queue = Slow(), Queue(Device(threads=1))
    passings = [Passing(gate, queue, value) for value in (1.0, 2.0)]
    start(gate, queue, passings)
    gate.released.set()
    for passing in passings:
        passing.join(WITHIN)
    # two of three calls are each image's own, one is shared; the first waits for the test
    second = passings[1].passed
    assert second is not None
    assert second.seconds["model"] == pytest.approx(0.3, abs=0.1)
    assert second.seconds["stitch"] < 0.1


@pytest.mark.parametrize("sums", [None, 0])
def test_labels_are_the_same_bits_in_company(write_unet: Write, sums: int | None) -> None:
    bundle = write_unet(options={"batch": 4})
    predictor = predictors.open(bundle, device=Device(threads=1, sums=sums))
    assert isinstance(predictor, SegmentationPredictor)
    calls: list[int] = []
    predictor._network.register_forward_hook(lambda *_: calls.append(1))
    stored = tiny.volume((12, 30, 18)).stored
    asks = [
        partial(
            predictor.predict_with_probabilities,
            tiny.volume(stored=np.roll(stored, shift, axis=1)),
            checkpoint=go_on,
        )
        for shift in range(6)
    ]
    alone, apart = [ask() for ask in asks], len(calls)
    assert all(bool(one.options["windows_again"]) is (sums == 0) for one in alone)
    found: list[object] = []
    company = threading.Thread(target=lambda: found.extend(tiny.at_once(*asks)))
    with predictor._device.hold(go_on):
        company.start()
        while len(predictor._queue._waiting) < len(asks):
            pass
    company.join(WITHIN)
    assert len(calls) - apart < apart
    for one, other in zip(alone, found, strict=True):
        assert isinstance(other, Prediction)
        np.testing.assert_array_equal(other.label_map, one.label_map)
        np.testing.assert_array_equal(other.maps[0].values, one.maps[0].values)
