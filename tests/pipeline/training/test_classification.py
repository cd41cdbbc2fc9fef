"""Classification: what a batch holds of grey images and of images in colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import StudyRejected
from pipeline.models.planes import frames
from pipeline.training import classification, data, manifest, recipe
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Image
from tests import quick_training
from tests.quick_training import write_manifest

GREY = quick_training.CLASSIFICATION


def in_colours() -> dict[str, Any]:
    network = GREY["network"]
    return GREY | {
        "network": network | {"arguments": network["arguments"] | {"in_channels": 3}},
        "input": GREY["input"] | {"channels": 3, "window": [0, 255]},
        "augmentation": {"flip": 0.5},
    }


def task(folder: Path, wanted: Recipe) -> classification.Classification:
    """Prepare red and blue pictures whose upper half is darker."""
    rows = []
    for number in range(8):
        pixels = np.zeros((16, 16, 3), np.uint8)
        pixels[..., 2 * (number % 2)] = 100 + number
        pixels[8:] *= 2
        np.save(folder / f"{number}.npy", pixels)
        label = ("dark", "bright")[number % 2]
        rows.append((f"{number}.npy", label, f"p{number}", "test" if number > 5 else "train"))
    snapshot = manifest.freeze(write_manifest(folder, rows), wanted)
    prepared = data.prepare(
        snapshot,
        wanted,
        classification.preparation(wanted),
        folder / "kept",
        checkpoint=lambda: None,
    )
    return classification.Classification(
        recipe=wanted, prepared=prepared, device=torch.device("cpu")
    )


def test_colours_are_the_channels_and_mirror_images_keep_them(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(in_colours()))
    halves = set()
    for epoch in range(6):
        for images, classes in drawn.batches(epoch, 0):
            assert images.shape[1:] == (3, 16, 16)
            for image, number in zip(images, classes, strict=True):
                colour = 2 * int(number)
                assert image[colour].min() > 0.35
                assert image[1].max() == image[2 - colour].max() == 0
                halves.add(bool(image[colour, 0].mean() < image[colour, -1].mean()))
    assert halves == {False, True}


def test_the_network_of_a_recipe_in_colours_learns_from_them(tmp_path: Path) -> None:
    drawn = task(tmp_path, recipe.check(in_colours()))
    network = drawn.network()
    for batch in drawn.batches(0, 0):
        drawn.loss(network, batch).backward()
    assert all(weights.grad is not None for weights in network.parameters())


@pytest.mark.parametrize(
    ("document", "shape", "named"),
    [(in_colours(), (1, 16, 16), "colours"), (GREY, (1, 16, 16, 3), "grey")],
    ids=["grey for colours", "colours for grey"],
)
def test_grey_and_colours_are_not_taken_for_each_other(
    document: dict[str, Any], shape: tuple[int, ...], named: str
) -> None:
    image = Image(pixels=np.zeros(shape, np.uint8))
    with pytest.raises(StudyRejected, match=named):
        classification.preparation(recipe.check(document))(image, Truth(label="dark"))


def test_what_is_kept_is_what_the_predictor_sees(tmp_path: Path) -> None:
    wanted = recipe.check(in_colours())
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    kept = classification.preparation(wanted)(Image(pixels=pixels), Truth(label="bright"))
    seen, _, _ = frames(Image(pixels=pixels), wanted.spec("0").input)
    assert np.array_equal(kept["image"], seen[:, 0].numpy())
    assert kept["class"] == 1
