from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.apps.vista3d.transforms import VistaPostTransformd as MonaiPostTransformd
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInfererAdapt
from monai.networks.nets.segresnet_ds import SegResNetDS2
from monai.networks.nets.vista3d import VISTA3D, ClassMappingClassify, PointMappingSAM
from torch import Tensor, nn

from pipeline.networks.vista3d import EVERYTHING, Vista3dInferer, VistaPostTransformd

WINDOW = (16, 16, 16)
PROMPTS = (3, 9, 1, 6, 11)


@pytest.fixture(scope="module")
def network() -> VISTA3D:
    """A VISTA3D of 12 classes and 8 features."""
    torch.manual_seed(1)
    encoder = SegResNetDS2(
        in_channels=1,
        blocks_down=(1, 1),
        norm="instance",
        out_channels=8,
        init_filters=8,
        dsdepth=1,
    )
    built = VISTA3D(
        image_encoder=encoder,
        class_head=ClassMappingClassify(n_classes=20, feature_size=8),
        point_head=PointMappingSAM(feature_size=8, n_classes=20, last_supported=12),
    )
    return built.eval()


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(1, 1, 33, 20, 12, generator=torch.Generator().manual_seed(3))


def by_monai(network: nn.Module, image: Tensor, prompts: tuple[int, ...]) -> Tensor:
    """All maps of the whole image at once, then labels: (1, *spatial)."""
    inferer = SlidingWindowInfererAdapt(roi_size=WINDOW, sw_batch_size=1, with_coord=True)
    classes = torch.tensor(prompts)[:, None]
    logits = inferer(image, network, transpose=True, class_vector=classes)
    data = {"pred": logits[0], "label_prompt": torch.tensor(prompts)}
    labels: Tensor = MonaiPostTransformd(keys="pred")(data)["pred"]
    return labels


@pytest.mark.parametrize("prompts", [PROMPTS, (4,)])
@pytest.mark.parametrize("batch", [1, 3])
def test_labels_are_those_of_all_maps_at_once(
    network: VISTA3D, image: Tensor, prompts: tuple[int, ...], batch: int
) -> None:
    with torch.no_grad():
        expected = by_monai(network, image, prompts)
        found = Vista3dInferer(WINDOW, batch, prompts=prompts)(image, network)
    assert set(expected.unique().tolist()) > {0.0}
    assert found.shape == (1, 1, 33, 20, 12)
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize(("room", "sizes"), [(2**32, {5}), (0, {1}), (30 * 16**3, {2, 1})])
def test_the_room_decides_how_many_maps_are_summed_at_once_and_nothing_else(
    network: VISTA3D, image: Tensor, room: int, sizes: set[int]
) -> None:
    asked: list[int] = []

    def note(_: nn.Module, __: Any, given: dict[str, Any]) -> None:
        asked.append(len(given["class_vector"]))

    hook = network.register_forward_pre_hook(note, with_kwargs=True)
    with torch.no_grad():
        found = Vista3dInferer(WINDOW, prompts=PROMPTS, room=room)(image, network)
    hook.remove()
    with torch.no_grad():
        assert torch.equal(found[0], by_monai(network, image, PROMPTS))
    assert set(asked) == sizes


class Steady(nn.Module):
    """Answers for every class with one number everywhere."""

    def __init__(self, logits: dict[int, float]) -> None:
        super().__init__()
        self.point_head = SimpleNamespace(last_supported=12)
        self._logits = logits

    def forward(self, images: Tensor, *, class_vector: Tensor, transpose: bool) -> Tensor:
        assert transpose
        maps = [torch.full(WINDOW, self._logits[int(number)]) for number in class_vector]
        return torch.stack(maps).expand(len(images), -1, -1, -1, -1)


@pytest.mark.parametrize(
    ("logits", "label"),
    [
        ({5: 1.0, 3: 1.0, 4: 0.5}, 5),
        ({5: -1.0, 3: 0.1, 4: 0.0}, 3),
        ({5: 0.0, 3: -2.0, 4: -1.0}, 0),
    ],
)
@pytest.mark.parametrize("room", [0, 2**32])
def test_the_largest_logit_above_zero_counts_and_of_equal_ones_the_first_asked_for(
    image: Tensor, logits: dict[int, float], label: int, room: int
) -> None:
    inferer = Vista3dInferer(WINDOW, prompts=tuple(logits), room=room)
    assert inferer(image, Steady(logits)).unique().tolist() == [label]


def test_the_affine_of_the_image_stays_with_the_labels(network: VISTA3D) -> None:
    affine = torch.diag(torch.tensor([1.5, 1.5, 3.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.rand(1, 1, *WINDOW), affine=affine)
    with torch.no_grad():
        found = Vista3dInferer(WINDOW, prompts=(1,))(image, network)
    assert isinstance(found, MetaTensor)
    np.testing.assert_array_equal(found.affine, affine)


def test_everything_leaves_out_what_needs_points_or_lies_within_other_classes() -> None:
    by_points, together, within = {16, 18, 129, 130, 131}, {2, 20, 21}, {*range(23, 28), 128, 132}
    assert len(EVERYTHING) == 132 - 15
    assert sorted({*EVERYTHING, *by_points, *together, *within}) == list(range(1, 133))


@pytest.mark.parametrize("prompts", [(), (0, 1), (2, 2), ("3",), (1.5,)])
def test_prompts_that_are_no_classes_are_refused(prompts: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="class numbers"):
        Vista3dInferer(WINDOW, prompts=prompts)


def test_a_class_that_needs_points_is_refused(network: VISTA3D, image: Tensor) -> None:
    with pytest.raises(ValueError, match="up to 12"):
        Vista3dInferer(WINDOW, prompts=(13,))(image, network)


def test_several_images_at_once_are_refused(network: VISTA3D, image: Tensor) -> None:
    with pytest.raises(ValueError, match="one image"):
        Vista3dInferer(WINDOW, prompts=(1,))(torch.cat([image, image]), network)


def test_labels_pass_the_post_transform_as_they_are() -> None:
    labels = torch.tensor([0.0, 3.0, 9.0]).reshape(1, 3, 1, 1)
    assert VistaPostTransformd(keys="pred")({"pred": labels, "image": None})["pred"] is labels


def test_maps_do_not_pass_the_post_transform() -> None:
    with pytest.raises(ValueError, match="no map of labels"):
        VistaPostTransformd(keys="pred")({"pred": torch.zeros(2, 3, 1, 1)})
