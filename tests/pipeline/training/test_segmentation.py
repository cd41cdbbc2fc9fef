"""Segmentation: patches of volumes, of single images and of colours, and what is learnt of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import StudyRejected
from pipeline.training import data, manifest, recipe, segmentation
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
    prepared = data.prepare(
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
