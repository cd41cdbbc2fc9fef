"""Volumes whose sums may take little memory: windows are run again, and the answer is the same."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.asking import Uncertainty
from pipeline.errors import Interrupted
from pipeline.models.devices import Device
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.results import Prediction
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

MIB = 2**20
IMAGE = tiny.volume((22, 26, 31))


class Pairs(nn.Module):
    """A convolution whose classes come in pairs with the same logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.second = nn.Conv3d(4, classes // 2, 1, bias=False)
        self.calls = 0
        self.broken_at: int | None = None

    def forward(self, image: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.broken_at:
            raise MemoryError
        answer: Tensor = self.second(self.first(image - 0.4).relu() - 0.1)
        return answer.repeat_interleave(2, 1)


def predictor_of(
    classes: int, sums: int | None, orientation: str = "RAS"
) -> tuple[SegmentationPredictor, Pairs]:
    network = Pairs(classes).eval()
    device = Device(threads=1, sums=sums)
    return SegmentationPredictor(tiny.coarse_spec(classes, orientation), network, device), network


def predicted(classes: int, sums: int | None, orientation: str = "RAS") -> Prediction:
    return predictor_of(classes, sums, orientation)[0].predict(IMAGE, checkpoint=go_on)


def bits(found: Prediction) -> NDArray[np.uint8]:
    assert found.label_map is not None
    return found.label_map


@pytest.mark.parametrize(("classes", "orientation"), [(4, "RAS"), (4, "AIR"), (20, "SPL")])
def test_labels_are_the_same_however_often_windows_are_run(classes: int, orientation: str) -> None:
    whole = predicted(classes, None, orientation)
    assert whole.options["windows_again"] == 0
    assert not whole.warnings
    labels = np.unique(bits(whole))
    assert len(labels) > 1
    assert not (labels % 2).any()  # of equal classes the first
    runs = [whole.options["windows"]]
    for voxels in (4500, 0):
        found = predicted(classes, 4 * (classes + 1) * voxels, orientation)
        np.testing.assert_array_equal(bits(found), bits(whole))
        assert found.findings == whole.findings
        runs.append(found.options["windows"])
    assert len(set(runs)) == 3


def test_the_report_says_what_was_run_again_and_what_would_have_spared_it() -> None:
    found = predicted(120, 2 * MIB)
    (sentence,) = found.warnings
    said = re.fullmatch(
        r"(\d+) windows were run again, so that sums take (\d+) MiB at once: "
        r"to run each once takes (\d+) MiB, more than they may",
        sentence,
    )
    assert said is not None
    again, held, spared = map(int, said.groups())
    assert found.options["windows_again"] == again > 0
    assert held <= 2 < spared
    assert predicted(120, (spared - 1) * MIB).warnings
    spared_it = predicted(120, spared * MIB)
    assert not spared_it.warnings
    assert found.options["windows"] == spared_it.options["windows"] + again  # type: ignore[operator]


def test_probabilities_and_doubts_are_the_same_too() -> None:
    small, large = (predictor_of(4, sums)[0] for sums in (60_000, None))
    one, other = (
        predictor.predict_with_probabilities(IMAGE, checkpoint=go_on)
        for predictor in (small, large)
    )
    assert one.options["windows_again"] != 0
    for here, there in zip(one.maps, other.maps, strict=True):
        np.testing.assert_allclose(here.values, there.values, atol=1e-6)
    asked = Uncertainty(flips=(0,))
    one, other = (
        predictor.predict_with_uncertainty(IMAGE, asked, checkpoint=go_on)
        for predictor in (small, large)
    )
    assert one.options["windows_again"] != 0
    np.testing.assert_array_equal(bits(one), bits(other))


def test_it_can_be_canceled_between_parts() -> None:
    predictor, network = predictor_of(4, 60_000)

    def stop() -> None:
        if network.calls == 10:  # each window was run by the sixth
            raise Interrupted("canceled")

    with pytest.raises(Interrupted):
        predictor.predict(IMAGE, checkpoint=stop)
    assert network.calls == 10
    found = predictor.predict(IMAGE, checkpoint=go_on)
    np.testing.assert_array_equal(bits(found), bits(predicted(4, None)))


def test_memory_that_runs_out_in_a_later_part_changes_no_label() -> None:
    predictor, network = predictor_of(4, 60_000)
    network.broken_at = 10
    found = predictor.predict(IMAGE, checkpoint=go_on)
    assert found.options["batch"] == 1
    assert "memory ran out with 2 windows" in found.warnings[0]
    assert "run again" in found.warnings[1]
    np.testing.assert_array_equal(bits(found), bits(predicted(4, None)))
