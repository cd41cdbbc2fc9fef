"""Masked images: what is hidden, and that only this is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.training.masked_images import MaskedImages, hidden_blocks
from tests import quick_variants as quick

MASKED = {"method": "masked-autoencoder", "epochs": 2, "batch": 4, "block": 4, "masked": 0.5}


def pretext(folder: Path, document: dict) -> MaskedImages:
    wanted = quick.check(document, pretraining=MASKED)
    make = quick.images if wanted.kind == "classification" else quick.squares
    assert wanted.pretraining is not None
    return MaskedImages(wanted=wanted.pretraining, views=quick.views(wanted, make(folder)))


@pytest.mark.parametrize(
    ("size", "block", "share", "count"),
    [((16, 16), 4, 0.5, 128), ((8, 8, 8), 4, 0.25, 128), ((10, 10), 8, 0.5, None)],
)
def test_so_many_blocks_are_hidden_as_their_share_comes_to(
    size: tuple[int, ...], block: int, share: float, count: int | None
) -> None:
    hidden = hidden_blocks(size, block, share, np.random.default_rng(0))
    assert hidden.shape == size
    assert 0 < int(hidden.sum()) < hidden.numel()
    if count is not None:
        assert int(hidden.sum()) == count
        corner = hidden[tuple(slice(block) for _ in size)]
        assert bool(corner.all()) or not bool(corner.any())


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_something_is_hidden_and_something_seen(share: float) -> None:
    hidden = hidden_blocks((16, 16), 4, share, np.random.default_rng(0))
    assert 0 < int(hidden.sum()) < 256


class Knows(nn.Module):
    """Answers with images it knows, and keeps what it was shown."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.images = images
        self.shown = torch.zeros(())

    def forward(self, shown: torch.Tensor) -> torch.Tensor:
        self.shown = shown
        return self.images


def test_only_what_is_hidden_is_asked_for_and_it_is_not_shown(tmp_path: Path) -> None:
    task = pretext(tmp_path, quick.PLAIN)
    images, hidden = next(task.batches(0, 0))
    right = Knows(images)
    assert float(task.loss(right, (images, hidden))) == 0.0
    assert float(right.shown[hidden].abs().max()) == 0.0
    assert torch.equal(right.shown[~hidden], images[~hidden])
    assert float(task.loss(Knows(images + 0.25 * hidden), (images, hidden))) == pytest.approx(0.25)
    assert float(task.loss(Knows(images + 0.25 * ~hidden), (images, hidden))) == 0.0


@pytest.mark.parametrize("document", [quick.PLAIN, quick.FLAT], ids=lambda one: one["kind"])
def test_the_network_of_a_recipe_answers_with_images_and_learns(
    tmp_path: Path, document: dict
) -> None:
    torch.manual_seed(0)
    task = pretext(tmp_path, document)
    network = task.network()
    moving = torch.optim.AdamW(network.parameters(), 0.02)
    losses = []
    for epoch in range(12):
        for images, hidden in task.batches(epoch, 0):
            assert network(images).shape == images.shape
            loss = task.loss(network, (images, hidden))
            moving.zero_grad()
            loss.backward()
            moving.step()
            losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
