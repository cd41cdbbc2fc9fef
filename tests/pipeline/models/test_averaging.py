"""Ensembles and views: the mean of what is known is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.models import averaging, bundle, networks, predictors
from pipeline.models.averaging import Averaged, View, views
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.devices import Device
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on


class Says(nn.Module):
    """Answers the same logits for every input (batch, labels)."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


class Local(nn.Module):
    """Answers for each voxel by itself: turned with the image it says the same."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images, 1 - images, images**2], 1)


class Shifting(nn.Module):
    """Answers with the image moved by one row."""

    def forward(self, images: Tensor) -> Tensor:
        return images.roll(1, 2)


ONE = [View((), 0)]
IMAGE = torch.rand((2, 1, 6, 6), generator=torch.Generator().manual_seed(0))


def test_two_members_give_the_mean_of_their_scores() -> None:
    found = Averaged([Says(0.0, 2.0), Says(3.0, 0.0)], ONE, "softmax")(IMAGE)
    first, second = torch.tensor([0.0, 2.0]).softmax(0), torch.tensor([3.0, 0.0]).softmax(0)
    torch.testing.assert_close(found.softmax(1)[0], (first + second) / 2)


def test_members_that_answer_any_number_of_labels_give_the_mean_of_their_sigmoids() -> None:
    found = Averaged([Says(0.0, 2.0), Says(3.0, -8.0)], ONE, "sigmoid")(IMAGE)
    expected = (torch.tensor([0.0, 2.0]).sigmoid() + torch.tensor([3.0, -8.0]).sigmoid()) / 2
    torch.testing.assert_close(found.sigmoid()[0], expected)


def test_logits_are_averaged_where_that_is_asked_for() -> None:
    found = Averaged([Says(0.0, 2.0), Says(3.0, 0.0)], ONE, "logits")(IMAGE)
    assert found[0].tolist() == [1.5, 1.0]


def test_scores_that_are_certain_stay_finite() -> None:
    for over in ("softmax", "sigmoid"):
        found = Averaged([Says(0.0, 1000.0)], ONE, over)(IMAGE)  # type: ignore[arg-type]
        assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    ("flips", "turns", "count"), [((), False, 1), ((0, 1), False, 4), ((1,), True, 8)]
)
def test_a_network_that_turns_with_its_image_answers_the_same_for_all_views(
    *, flips: tuple[int, ...], turns: bool, count: int
) -> None:
    seen = views(flips, turns=turns)
    assert len(seen) == count
    assert len({tuple(view.of(IMAGE).flatten().tolist()) for view in seen}) == count
    torch.testing.assert_close(Averaged([Local()], seen, "logits")(IMAGE), Local()(IMAGE))


def test_views_undo_what_a_network_does_to_one_side() -> None:
    seen = views((0,), turns=False)
    found = Averaged([Shifting()], seen, "logits")(IMAGE)
    torch.testing.assert_close(found, (IMAGE.roll(1, 2) + IMAGE.roll(-1, 2)) / 2)


def test_volumes_are_turned_within_their_last_two_axes() -> None:
    image = torch.rand((1, 1, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    seen = views((0, 1, 2), turns=True)
    torch.testing.assert_close(Averaged([Local()], seen, "logits")(image), Local()(image))


def ensemble(folder: Path, **options: Any) -> Bundle:
    """Write a bundle of two tiny U-Nets."""
    members = nn.ModuleList()
    for seed in range(2):
        torch.manual_seed(seed)
        members.append(networks.build("UNet", tiny.UNET))
    spec = tiny.unet_spec(options={"members": 2, **options})
    return bundle.write(folder / "two", spec, weights=members.state_dict(), card="# Two\n")


def test_an_ensemble_out_of_one_bundle_says_what_its_members_say_on_average(
    tmp_path: Path, write_unet: Callable[..., Bundle]
) -> None:
    image = tiny.volume((16, 16, 16))
    alone = [
        predictors.open(write_unet(seed), device=Device()).predict_with_probabilities(  # type: ignore[attr-defined]
            image, checkpoint=go_on
        )
        for seed in range(2)
    ]
    both = predictors.open(ensemble(tmp_path), device=Device())
    found = both.predict_with_probabilities(image, checkpoint=go_on)  # type: ignore[attr-defined]
    mean = (alone[0].maps[0].values + alone[1].maps[0].values) / 2
    assert abs(found.maps[0].values - mean).max() < 1e-5
    assert abs(alone[0].maps[0].values - mean).max() > 1e-3


def test_weights_of_another_number_of_members_are_refused(tmp_path: Path) -> None:
    written = ensemble(tmp_path, members=3)
    with pytest.raises(BundleRefused, match="Missing key"):
        predictors.open(written, device=Device())


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"flips": [3]}, "less than or equal to 2"),
        ({"flips": [1, 1]}, "each once"),
        ({"members": 0}, "greater than or equal to 1"),
    ],
)
def test_averages_that_make_no_sense_are_refused(
    write_unet: Callable[..., Bundle], options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(BundleRefused, match=fault):
        write_unet(options=options)


def test_a_network_that_is_not_averaged_is_left_alone() -> None:
    network = Local()
    assert averaging.wrap(tiny.unet_spec(), network) is network
