"""Classification: what a batch holds of an image, of several series and of a table; its loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import StudyRejected, TrainingRefused
from pipeline.models.planes import frames
from pipeline.training import classification, data, manifest, preparing, recipe
from pipeline.training.patient_values import stating
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Channels, Image, Volume
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
    prepared = preparing.prepare(
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
        for images, classes, _ in drawn.batches(epoch, 0):
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


def several() -> Recipe:
    """Return a recipe whose cases have any number of labels."""
    return recipe.check(
        in_colours()
        | {"loss": "binary-cross-entropy", "options": {"activation": "sigmoid"}, "augmentation": {}}
    )


def prepared_as(
    folder: Path, wanted: Recipe, cases: Sequence[Mapping[str, Any]], names: str = "training"
) -> classification.Classification:
    """Return a task over cases that are prepared by hand."""
    places = []
    for number, arrays in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        for name, values in arrays.items():
            np.save(place / f"{name}.npy", values)
        places.append(place)
    parts: dict[str, tuple[Path, ...]] = {"training": (), "validation": ()}
    prepared = data.Prepared(**parts | {names: tuple(places)})
    return classification.Classification(
        recipe=wanted, prepared=prepared, device=torch.device("cpu")
    )


def bright(*truths: Any) -> list[dict[str, Any]]:
    """Return cases whose pixels all have the number of the case."""
    return [
        {"image": np.full((1, 16, 16), number, np.float32), "class": np.asarray(truth)}
        for number, truth in enumerate(truths)
    ]


@pytest.mark.parametrize(
    ("label", "target"), [("-", [0, 0]), ("bright", [0, 1]), ("dark|bright", [1, 1])]
)
def test_any_number_of_labels_may_be_true_of_a_case(label: str, target: list[float]) -> None:
    image = Image(pixels=np.zeros((1, 16, 16, 3), np.uint8))
    kept = classification.preparation(several())(image, Truth(label=label))
    assert kept["class"].tolist() == target
    assert kept["class"].dtype == np.float32


class Answering(nn.Module):
    """Answers with the same logits whatever it is shown."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor, **beside: torch.Tensor) -> torch.Tensor:
        """Return (B, classes)."""
        del beside
        return self.logits.expand(len(images), -1)


def batch(*targets: Any) -> classification.Batch:
    return classification.Batch(torch.zeros(len(targets), 1, 2, 2), torch.tensor(targets), {})


def test_of_any_number_of_labels_each_is_a_question_of_its_own(tmp_path: Path) -> None:
    drawn = prepared_as(tmp_path, several(), [])
    loss = drawn.loss(Answering(math.log(3), 0.0), batch([1.0, 0.0], [0.0, 1.0]))
    # the first is stated with 3/4 and true once of two, the second with 1/2
    first, second = (math.log(3 / 4) + math.log(1 / 4)) / 2, math.log(1 / 2)
    assert float(loss.detach()) == pytest.approx(-(first + second) / 2)


def test_smoothing_spreads_a_share_of_the_truth_over_all_classes(tmp_path: Path) -> None:
    wanted = recipe.check(GREY | {"classes": {"smoothing": 0.2}})
    loss = prepared_as(tmp_path, wanted, []).loss(Answering(math.log(3), 0.0), batch(0))
    assert float(loss.detach()) == pytest.approx(-0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4))


def test_with_weights_a_rare_class_counts_as_much_as_a_frequent_one(tmp_path: Path) -> None:
    wanted = recipe.check(GREY | {"classes": {"balance": "weights"}})
    drawn = prepared_as(tmp_path, wanted, bright(0, 0, 0, 1))
    loss = drawn.loss(Answering(math.log(3), 0.0), batch(0, 0, 0, 1))
    assert float(loss.detach()) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)


def test_a_case_weighs_the_same_in_whatever_batch_it_comes(tmp_path: Path) -> None:
    wanted = recipe.check(GREY | {"classes": {"balance": "weights"}})
    drawn = prepared_as(tmp_path, wanted, bright(0, 0, 0, 1))
    network = Answering(math.log(3), 0.0)
    whole = drawn.loss(network, batch(0, 0, 0, 1))
    alone = [float(drawn.loss(network, batch(target)).detach()) for target in (0, 0, 0, 1)]
    assert sum(alone) / 4 == pytest.approx(float(whole.detach()))
    # three times as many, so a third of the weight: as a class both count the same
    assert alone[3] / math.log(1 / 4) == pytest.approx(3 * alone[0] / math.log(3 / 4))


def test_with_sampling_every_class_is_drawn_as_often(tmp_path: Path) -> None:
    wanted = recipe.check(GREY | {"classes": {"balance": "sampling"}, "augmentation": {}})
    drawn = prepared_as(tmp_path, wanted, bright(*[0] * 18, 1, 1))
    seen = [int(one) for epoch in range(15) for made in drawn.batches(epoch, 0) for one in made[1]]
    assert len(seen) == 15 * 20
    assert sum(seen) / len(seen) == pytest.approx(0.5, abs=0.1)


def test_a_mixed_case_is_true_by_the_shares_of_what_it_shows(tmp_path: Path) -> None:
    wanted = recipe.check(GREY | {"augmentation": {"mixup": 1.0}})
    drawn = prepared_as(tmp_path, wanted, bright(0, 1))
    shares = set()
    for epoch in range(8):
        for images, targets, _ in drawn.batches(epoch, 0):
            assert targets.sum(1) == pytest.approx(1)
            assert images[:, 0, 0, 0].tolist() == pytest.approx(targets[:, 1].tolist())
            shares |= {round(float(one), 3) for one in targets[:, 1]}
    assert len(shares) > 4


def test_mixing_is_decided_by_the_place_of_the_batch_alone(tmp_path: Path) -> None:
    wanted = recipe.check(GREY | {"batch": 2, "augmentation": {"mixup": 1.0}})
    drawn = prepared_as(tmp_path, wanted, bright(0, 1, 0, 1))
    whole, rest = list(drawn.batches(0, 0)), list(drawn.batches(0, 1))
    assert torch.equal(whole[1].images, rest[0].images)
    assert torch.equal(whole[1].targets, rest[0].targets)


def test_the_validation_score_does_not_depend_on_how_many_are_asked_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = prepared_as(tmp_path, recipe.check(GREY), bright(0, 1, 1, 0, 1), names="validation")
    network = drawn.network().eval()
    with torch.inference_mode():
        together = drawn.score(network)
        monkeypatch.setattr(classification, "_TOGETHER", 2)
        assert drawn.score(network) == pytest.approx(together)


FUSION: dict[str, Any] = GREY | {
    "network": {
        "name": "JointFusion",
        "arguments": {"spatial_dims": 3, "in_channels": 2, "out_channels": 2, "features": [2]},
    },
    "input": {
        "modalities": ["MR"],
        "spatial_dims": 3,
        "channels": 2,
        "window": [0, 1],
        "size": [8, 8, 8],
    },
    "augmentation": {"missing": 0.5},
}


def volume(value: float) -> Volume:
    return Volume(stored=np.full((8, 8, 8), value, np.float32), affine=np.eye(4))


def test_the_series_of_a_case_are_its_channels_and_it_says_which_are_there(tmp_path: Path) -> None:
    wanted = recipe.check(FUSION)
    prepare = classification.preparation(wanted)
    both = prepare(Channels(volumes=(volume(0.25), volume(0.5))), Truth(label="dark"))
    one = prepare(Channels(volumes=(volume(0.5),), present=(False, True)), Truth(label="bright"))
    assert both["image"][:, 0, 0, 0].tolist() == [0.25, 0.5]
    assert (both["present"].tolist(), one["present"].tolist()) == ([True, True], [False, True])
    drawn = prepared_as(tmp_path, wanted, [both, one])
    met = set()
    for epoch in range(20):
        for made in drawn.batches(epoch, 0):
            assert made.beside["present"].any(1).all()
            met |= {tuple(present.tolist()) for present in made.beside["present"]}
    assert met == {(True, True), (True, False), (False, True)}
    network = drawn.network()
    drawn.loss(network, next(drawn.batches(0, 0))).backward()
    assert all(weights.grad is not None for weights in network.parameters())


def test_one_series_is_not_taken_for_two() -> None:
    with pytest.raises(StudyRejected, match="2 series"):
        classification.preparation(recipe.check(FUSION))(volume(0.5), Truth(label="dark"))


TABLE: dict[str, Any] = GREY | {
    "network": {
        "name": "FiLMNet",
        "arguments": {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            "values": 4,
            "features": [2],
        },
    },
    "input": GREY["input"] | {"table": [{"name": "age", "mean": 50, "scale": 10}, {"name": "sex"}]},
    "augmentation": {},
}


def test_values_of_the_patient_are_kept_beside_the_image_as_the_network_reads_them() -> None:
    image = Image(pixels=np.zeros((1, 16, 16), np.float32))
    stated = stating(image, {"age": 70.0, "sex": None}, modality="OT")
    kept = classification.preparation(recipe.check(TABLE))(stated, Truth(label="dark"))
    assert kept["values"] == pytest.approx([2.0, 0, 0, 0], abs=0.01)
    assert kept["known"].tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"loss": "binary-cross-entropy"}, "cross-entropy"),
        ({"options": {"activation": "sigmoid"}}, "binary-cross-entropy"),
        ({"augmentation": {"missing": 0.1}}, "missing"),
        ({**FUSION, "augmentation": {"mixup": 1.0}}, "mixup"),
        ({**quick_training.SEGMENTATION, "augmentation": {"mixup": 1.0}}, "classification"),
        ({**quick_training.SEGMENTATION, "classes": {"smoothing": 0.1}}, "classification"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(TrainingRefused, match=named):
        recipe.check(GREY | changes)


def test_an_older_recipe_keeps_its_digest() -> None:
    stated = recipe.check(GREY).stated()
    assert "classes" not in stated
    assert not {"images", "table"} & set(stated["input"])
    assert not {"rotate", "mixup", "missing", "blur"} & set(stated["augmentation"])
