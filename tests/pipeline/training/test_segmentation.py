"""Segmentation: patches of volumes, of single images and of colours, and what is learnt of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import StudyRejected
from pipeline.models.devices import one_thread
from pipeline.training import manifest, preparing, recipe, segmentation
from pipeline.training.reading import Truth
from pipeline.volume import Image, Volume
from tests import quick_training
from tests.quick_training import write_manifest

CPU = torch.device("cpu")


def flat(channels: int = 1) -> dict[str, Any]:
    arguments = quick_training.SEGMENTATION["network"]["arguments"]
    window = [0, 255] if channels == 3 else [0, 100]
    return quick_training.SEGMENTATION | {
        "network": {
            "name": "UNet",
            "arguments": arguments | {"spatial_dims": 2, "in_channels": channels},
        },
        "input": {
            "modalities": ["OT"],
            "spatial_dims": 2,
            "channels": channels,
            "window": window,
            "size": [8, 8],
        },
        "augmentation": {"flip": 0.5},
        "foreground": 1.0,
    }


def write_squares(folder: Path, channels: int) -> Path:
    """Write pictures that are bright where their mask is."""
    rng, rows = np.random.default_rng(0), []
    for number in range(6):
        mask = np.zeros((20, 24), np.uint8)
        row, column = rng.integers(0, 12, 2)
        mask[row : row + 5, column : column + 7] = 1
        bright = (10 + number + 80 * mask).astype(np.uint8)
        pixels = bright if channels == 1 else np.stack([bright, 0 * bright, bright], axis=2)
        np.save(folder / f"{number}.npy", pixels)
        np.save(folder / f"{number}.mask.npy", mask)
        part = "train" if number < 3 else ("val", "test")[number % 2]
        rows.append((f"{number}.npy", f"{number}.mask.npy", f"p{number}", part))
    return write_manifest(folder, rows)


def task(folder: Path, document: dict[str, Any], path: Path) -> segmentation.Segmentation:
    wanted = recipe.check(document)
    prepared = preparing.prepare(
        manifest.freeze(path, wanted),
        wanted,
        segmentation.preparation(wanted),
        folder / "kept",
        checkpoint=lambda: None,
    )
    return segmentation.Segmentation(recipe=wanted, prepared=prepared, device=CPU)


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_of_images_are_bright_where_their_masks_are(tmp_path: Path, channels: int) -> None:
    drawn = task(tmp_path, flat(channels), write_squares(tmp_path, channels))
    marked = 0
    for epoch in range(4):
        for images, masks in drawn.batches(epoch, 0):
            assert images.shape[1:] == (channels, 8, 8)
            assert masks.shape[1:] == (1, 8, 8)
            assert torch.equal(images[:, :1] > 0.2, masks == 1)
            marked += int(masks.sum())
    assert marked > 100


def test_turned_and_stretched_patches_keep_their_masks(tmp_path: Path) -> None:
    changes = {"rotate": 45, "zoom": 0.3, "translate": 0.1, "elastic": 0.5}
    drawn = task(tmp_path, flat() | {"augmentation": changes}, write_squares(tmp_path, 1))
    inside = 0
    for epoch in range(4):
        for images, masks in drawn.batches(epoch, 0):
            assert images.shape[1:] == masks.shape[1:] == (1, 8, 8)
            # values between are those of a border, where the nearest voxel decides
            certain = (images < 0.2) | (images > 0.8)
            assert torch.equal((images > 0.5)[certain], (masks == 1)[certain])
            inside += int(masks.sum())
    assert inside > 100


def test_a_turned_patch_sees_what_lies_around_it(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full((40, 40), 90 + number, np.uint8))
        np.save(tmp_path / f"{number}.mask.npy", np.ones((40, 40), np.uint8))
    parts = ("train", "val", "test")
    rows = [(f"{n}.npy", f"{n}.mask.npy", f"p{n}", part) for n, part in enumerate(parts)]
    document = flat() | {"augmentation": {"rotate": 180}, "patches": 16, "foreground": 0.0}
    drawn = task(tmp_path, document, write_manifest(tmp_path, rows))
    shares = [float(masks.float().mean()) for _, masks in drawn.batches(0, 0)]
    # black comes in only where the patch itself lies at the border
    assert max(shares) == 1.0
    assert np.mean(shares) > 0.97


def write_rare(folder: Path) -> Path:
    """Write pictures with a large label 1 on the left and one voxel of label 2 on the right."""
    mask = np.zeros((24, 40), np.uint8)
    mask[:, :12], mask[12, 34] = 1, 2
    rows = []
    for number, part in enumerate(("train", "val", "test")):
        np.save(folder / f"{number}.npy", (mask * 100 + number).astype(np.uint8))
        np.save(folder / f"{number}.mask.npy", mask)
        rows.append((f"{number}.npy", f"{number}.mask.npy", f"p{number}", part))
    return write_manifest(folder, rows)


@pytest.mark.parametrize(("balance", "least", "most"), [("yes", 0.35, 0.65), ("no", 0.0, 0.1)])
def test_balanced_patches_show_rare_labels_as_often_as_frequent_ones(
    tmp_path: Path, balance: str, least: float, most: float
) -> None:
    arguments = flat()["network"]["arguments"] | {"out_channels": 3}
    document = flat() | {
        "labels": [{"number": 1, "name": "large"}, {"number": 2, "name": "rare"}],
        "network": {"name": "UNet", "arguments": arguments},
        "patches": 100,
        "balanced": balance == "yes",
    }
    drawn = task(tmp_path, document, write_rare(tmp_path))
    shown = [bool((mask == 2).any()) for _, masks in drawn.batches(0, 0) for mask in masks]
    assert least <= np.mean(shown) <= most


SMALL_ONES: dict[str, dict[str, Any]] = {
    "UNet": {"channels": [4, 8], "strides": [2], "norm": "instance"},
    "AttentionUnet": {"channels": [4, 8], "strides": [2]},
    "SegResNet": {"init_filters": 4, "blocks_down": [1, 1], "blocks_up": [1], "norm": "INSTANCE"},
}


def losses_of(drawn: segmentation.Segmentation, batch: Any, steps: int = 12) -> list[float]:
    torch.manual_seed(3)
    network = drawn.network()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    with one_thread():
        for _ in range(steps):
            optimiser.zero_grad()
            loss = drawn.loss(network, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.item())
            optimiser.step()
    return losses


@pytest.mark.parametrize("name", sorted(SMALL_ONES))
def test_networks_of_the_table_learn_what_is_bright(tmp_path: Path, name: str) -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, **SMALL_ONES[name]}
    document = flat() | {"network": {"name": name, "arguments": arguments}, "batch": 3}
    drawn = task(tmp_path, document, write_squares(tmp_path, 1))
    losses = losses_of(drawn, next(drawn.batches(0, 0)))
    assert losses[-1] < 0.8 * losses[0]


def test_a_fully_convolutional_network_learns_which_half_is_bright(tmp_path: Path) -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "backbone": "resnet18"}
    document = flat() | {"network": {"name": "torchvision.fcn", "arguments": arguments}}
    drawn = task(tmp_path, document, write_squares(tmp_path, 1))
    masks = torch.zeros(2, 1, 64, 64, dtype=torch.int64)
    masks[0, :, :, :32] = masks[1, :, :, 32:] = 1
    losses = losses_of(drawn, (masks.float(), masks), steps=6)
    assert losses[-1] < 0.7 * losses[0]


class Knows(nn.Module):
    """Answers that what is bright is the label."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images[:, :1] - 0.2
        return torch.cat([-bright, bright], dim=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_knows_scores_one_and_a_mute_one_nothing(
    tmp_path: Path, channels: int
) -> None:
    drawn = task(tmp_path, flat(channels), write_squares(tmp_path, channels))
    assert drawn.score(Knows()) == pytest.approx(1.0)
    background = nn.Conv2d(channels, 2, 1, bias=True)
    nn.init.zeros_(background.weight)
    background.bias.data = torch.tensor([1.0, 0.0])
    assert drawn.score(background) == pytest.approx(0.0, abs=1e-6)


def test_a_network_of_two_axes_learns_from_the_slices_of_volumes() -> None:
    wanted = recipe.check(flat())
    volume = Volume(stored=np.zeros((5, 9, 7), np.int16), affine=np.eye(4))
    mask = np.zeros((5, 9, 7), np.uint8)
    mask[3, 2, 1] = 1
    kept = segmentation.preparation(wanted)(volume, Truth(mask=mask))
    assert kept["image"].shape == (1, 5, 9, 7)
    assert np.array_equal(kept["mask"], mask)
    assert np.unravel_index(kept["marked"], mask.shape) == (3, 2, 1)


def test_a_single_image_is_nothing_for_a_network_of_three_axes() -> None:
    wanted = recipe.check(quick_training.SEGMENTATION)
    picture = Image(pixels=np.zeros((1, 16, 16), np.float32))
    with pytest.raises(StudyRejected, match="volumes"):
        segmentation.preparation(wanted)(picture, Truth(mask=np.zeros((1, 16, 16), np.uint8)))


def test_colours_are_nothing_for_a_network_of_one_channel() -> None:
    picture = Image(pixels=np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(StudyRejected, match="grey"):
        segmentation.preparation(recipe.check(flat()))(
            picture, Truth(mask=np.zeros((1, 16, 16), np.uint8))
        )
