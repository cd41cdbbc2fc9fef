"""Boxes found by a network whose answer is known come back exactly, in voxels and in mm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from pipeline.models import networks, retinanet
from pipeline.models.detection import DetectionPredictor
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Detection, Prediction
from pipeline.volume import Image, Input, Volume
from tests.pipeline.models.tiny import go_on


class Spots(nn.Module):
    """Finds blocks of 2 x 2 x 2 bright voxels; its box is the anchor round each, unchanged."""

    num_classes, num_anchors, size_divisible = 1, 1, 2
    cls_key, box_reg_key = "classification", "box_regression"

    def __init__(self, spatial_dims: int = 3) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims

    def forward(self, image: Tensor) -> dict[str, list[Tensor]]:
        spots = (F.avg_pool3d if self.spatial_dims == 3 else F.avg_pool2d)(image, 2)
        return {
            self.cls_key: [spots * 20 - 15],
            self.box_reg_key: [torch.zeros(len(image), 2 * self.spatial_dims, *spots.shape[2:])],
        }


def spec(**changes: Any) -> ModelSpec:
    stated: dict[str, Any] = {
        "modalities": ("CT",),
        "spatial_dims": 3,
        "window": (0.0, 100.0),
        "size": (16, 16, 16),
        "overlap": 0.5,
    }
    stated |= changes
    return ModelSpec(
        name="spots",
        version="1",
        kind=Kind.DETECTION,
        title="Spots",
        input=InputSpec(**stated),
        labels=(Label(number=0, name="spot"),),
        network="RetinaNet",
        network_arguments={"features": [8], "anchor_shapes": [[4] * stated["spatial_dims"]]},
    )


def volume(spots: list[tuple[int, int, int]], turned: np.ndarray[Any, Any]) -> Volume:
    stored = np.zeros((40, 24, 32), np.int16)
    for s, r, c in spots:
        stored[s : s + 2, r : r + 2, c : c + 2] = 100
    affine = np.eye(4)
    affine[:3, :3] = turned * np.array([2.5, 0.7, 0.9])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return Volume(stored=stored, affine=affine, unit="HU")


AXIAL = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float)
UPSIDE_DOWN = np.array([[0, 0, -1], [0, 1, 0], [-1, 0, 0]], float)
OBLIQUE = np.linalg.qr(np.array([[0.1, 0.2, 1], [0.2, 1, -0.1], [1, -0.2, 0.1]]))[0]


def detect(image: Input, **changes: Any) -> tuple[Detection, ...]:
    network = Spots(changes.get("spatial_dims", 3)).eval()
    predictor = DetectionPredictor(spec(**changes), network, Device())
    prediction: Prediction = predictor.predict(image, checkpoint=go_on)
    assert all(isinstance(one, Detection) for one in prediction.findings)
    return prediction.findings  # type: ignore[return-value]


@pytest.mark.parametrize("turned", [AXIAL, UPSIDE_DOWN, OBLIQUE])
@pytest.mark.parametrize("orientation", [None, "SPL", "RAS", "LIP"])
def test_boxes_come_back_to_the_voxel_and_the_millimetre(
    turned: np.ndarray[Any, Any], orientation: str | None
) -> None:
    spots = [(6, 8, 4), (20, 12, 20), (32, 6, 26)]
    image = volume(spots, turned)
    found = detect(image, orientation=orientation)
    assert len(found) == 3
    for spot, one in zip(sorted(spots), sorted(found, key=lambda one: one.index_box), strict=True):
        low = np.array(spot) - 1.0
        assert one.index_box == pytest.approx((*low, *(low + 4)))
        assert one.size == pytest.approx((10.0, 2.8, 3.6))
        assert one.centre == pytest.approx(tuple(image.to_patient(np.array(spot) + 0.5)))


def test_a_box_seen_by_several_windows_is_stated_once() -> None:
    image = volume([(16, 8, 8), (14, 14, 16), (8, 16, 8)], AXIAL)
    assert len(detect(image, overlap=0.75)) == 3


def test_boxes_end_where_the_volume_ends() -> None:
    (found,) = detect(volume([(0, 0, 30)], AXIAL))
    assert found.index_box == pytest.approx((0, 0, 29, 3, 3, 32))


def test_an_image_smaller_than_a_window_is_padded() -> None:
    (found,) = detect(volume([(6, 8, 4)], AXIAL), size=(64, 64, 64))
    assert found.index_box == pytest.approx((5, 7, 3, 9, 11, 7))


def test_resampled_boxes_are_within_half_a_voxel_of_the_truth() -> None:
    stored = np.zeros((40, 48, 48), np.int16)
    stored[12:16, 20:24, 16:20] = 100
    image = Volume(stored=stored, affine=np.eye(4), unit="HU")
    (found,) = detect(image, spacing=(2.0, 2.0, 2.0))
    # the grid samples voxels 12 and 14: their middle is 13, the block's is 13.5
    assert found.centre == pytest.approx((13.0, 21.0, 17.0))
    assert found.size == pytest.approx((8.0, 8.0, 8.0))


@pytest.mark.parametrize("middle", [8.0, 7.0, 7.4, 9.1])
def test_every_box_finds_an_anchor_even_where_anchors_tie(middle: float) -> None:
    detector = retinanet.build(3, 1, features=[8], pyramid_channels=8)
    box = torch.tensor([[middle - 3] * 3 + [middle + 3] * 3])
    # the detector warns where a box finds none, and warnings are errors here
    losses = detector([torch.zeros(1, 16, 16, 16)], [{"boxes": box, "labels": torch.tensor([0])}])
    assert float(losses["box_regression"].detach()) >= 0


FLAT: dict[str, Any] = {"spatial_dims": 2, "size": (16, 16)}


def test_boxes_in_the_frames_of_an_image_have_no_place_in_the_patient() -> None:
    pixels = np.zeros((3, 24, 32), np.float32)
    pixels[0, 8:10, 4:6] = pixels[2, 12:14, 30:32] = 100
    found = sorted(detect(Image(pixels=pixels), **FLAT), key=lambda one: one.index_box)
    assert [one.index_box for one in found] == [
        pytest.approx((0, 7, 3, 1, 11, 7)),
        pytest.approx((2, 11, 29, 3, 15, 32)),
    ]
    assert {(one.centre, one.size) for one in found} == {(None, None)}


@pytest.mark.parametrize("orientation", [None, "SPL", "IAR"])
def test_boxes_in_the_slices_of_a_volume_are_one_slice_thick(orientation: str | None) -> None:
    image = volume([(6, 8, 4)], AXIAL)
    found = sorted(detect(image, orientation=orientation, **FLAT), key=lambda one: one.index_box)
    assert [one.index_box for one in found] == [
        pytest.approx((6, 7, 3, 7, 11, 7)),
        pytest.approx((7, 7, 3, 8, 11, 7)),
    ]
    assert found[0].size == pytest.approx((2.5, 2.8, 3.6))
    assert found[0].centre == pytest.approx(tuple(image.to_patient(np.array((6.0, 8.5, 4.5)))))


def test_a_smaller_batch_is_tried_when_memory_runs_out() -> None:
    class Hungry(Spots):
        def forward(self, image: Tensor) -> dict[str, list[Tensor]]:
            if len(image) > 1:
                raise MemoryError
            return super().forward(image)

    predictor = DetectionPredictor(spec(), Hungry().eval(), Device())
    found = predictor.predict(volume([(16, 8, 8)], AXIAL), checkpoint=go_on)
    assert len(found.findings) == 1
    assert found.options["batch"] == 1
    assert found.warnings == ("memory ran out with 2 windows at a time on the cpu",)


def test_nothing_found_is_a_valid_answer() -> None:
    assert detect(volume([], AXIAL)) == ()


def test_the_small_retinanet_learns_from_one_box_and_answers() -> None:
    torch.manual_seed(0)
    detector = retinanet.build(3, 1, features=[8], pyramid_channels=8, anchor_shapes=[[6, 6, 6]])
    image = torch.zeros(1, 16, 16, 16)
    image[:, 5:11, 5:11, 5:11] = 1
    target = {"boxes": torch.tensor([[5.0, 5, 5, 11, 11, 11]]), "labels": torch.tensor([0])}
    optimizer = torch.optim.Adam(detector.network.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = sum(detector([image], [target]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4
    detector.eval()
    with torch.inference_mode():
        (answer,) = detector(image[None])
    best = answer["boxes"][answer["labels_scores"].argmax()]
    assert (best - target["boxes"][0]).abs().max() < 1.5


@pytest.mark.parametrize(("stride", "finest"), [(2, 0), (2, 1), (4, 0), (4, 2)])
def test_the_pyramid_begins_at_the_stage_that_is_asked_for(stride: int, finest: int) -> None:
    arguments = {"features": [8, 8, 16], "pyramid_channels": 8, "stride": stride, "finest": finest}
    network = networks.build(
        "RetinaNet", {"spatial_dims": 2, "in_channels": 1, "num_classes": 1, **arguments}
    )
    answers = network(torch.zeros(1, 1, 64, 32))["classification"]
    first = stride * 2**finest
    assert [tuple(one.shape[2:]) for one in answers] == [
        (64 // side, 32 // side) for side in (first, 2 * first, 4 * first)[: 3 - finest]
    ]


@pytest.mark.parametrize("wrong", [{"stride": 3}, {"finest": 2}, {"finest": -1}])
def test_a_pyramid_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"stride must be 2 or 4, and finest"):
        networks.build(
            "RetinaNet", {"spatial_dims": 2, "in_channels": 1, "num_classes": 1, **wrong}
        )
