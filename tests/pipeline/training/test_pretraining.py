"""Pretraining: what it learns is what the training begins with, also after a stop in its middle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import Interrupted, TrainingRefused
from pipeline.training import loop, pretraining
from pipeline.training.checkpoint import Weights
from pipeline.training.pretraining import Pretrained
from pipeline.training.recipe import Recipe
from pipeline.training.task import Task
from tests import quick_variants as quick

METHODS = ("masked-autoencoder", "contrastive")
TRANSFORMER = {
    "spatial_dims": 2,
    "in_channels": 1,
    "num_classes": 2,
    "img_size": [16, 16],
    "patch_size": [4, 4],
    "hidden_size": 8,
    "mlp_dim": 16,
    "num_layers": 2,
    "num_heads": 2,
}
KINDS = {"classification": quick.PLAIN, "segmentation": quick.FLAT}


def stated(kind: str, method: str) -> Recipe:
    return quick.check(
        KINDS[kind],
        pretraining={"method": method, "epochs": 2, "batch": 3, "projection": 4},
        augmentation={"flip": 0.5, "noise": 0.05},
        epochs=1,
    )


def begun(wanted: Recipe, folder: Path, *stops: int) -> Pretrained:
    """Pretrain from the checkpoint in a folder, stopped after so many steps."""
    make = quick.images if wanted.kind == "classification" else quick.squares
    prepared = make(folder / "cases")
    folder.mkdir(exist_ok=True, parents=True)
    train = quick.phase(folder, *(quick.stopping_after(one) for one in stops))
    assert wanted.pretraining is not None
    return pretraining.pretrain(
        quick.kind_task(wanted, prepared), wanted.pretraining, quick.views(wanted, prepared), train
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_training_begins_with_what_was_learnt_but_for_its_last_layer(
    tmp_path: Path, kind: str, method: str
) -> None:
    wanted = stated(kind, method)
    task = begun(wanted, tmp_path)
    torch.manual_seed(1)
    fresh = task.inner.network().state_dict()
    torch.manual_seed(1)
    network = task.network().state_dict()
    last = {name for name in fresh if name.startswith(("class_layers.out", "model.2"))}
    taken = {name for name in fresh if not torch.equal(fresh[name], network[name])}
    assert set(task.weights) <= set(fresh)
    assert not taken & last
    # norms at their first values may be equal by chance; all that convolves is not
    assert {name for name, one in fresh.items() if one.ndim > 2} - last <= taken
    assert all(torch.equal(network[name], one) for name, one in task.weights.items())


@pytest.mark.parametrize("method", METHODS)
def test_stopped_in_the_first_phase_it_goes_on_to_the_same_weights(
    tmp_path: Path, method: str
) -> None:
    wanted = stated("classification", method)
    whole = begun(wanted, tmp_path / "whole")
    with pytest.raises(Interrupted):
        begun(wanted, tmp_path / "stopped", 3)
    again = begun(wanted, tmp_path / "stopped")
    assert whole.weights.keys() == again.weights.keys()
    assert all(torch.equal(one, again.weights[name]) for name, one in whole.weights.items())
    second, same = (
        loop.train(task, wanted, "d", quick.controls(tmp_path / name))[0]
        for name, task in (("one", whole), ("two", again))
    )
    assert all(torch.equal(one, same[name]) for name, one in second.items())


@pytest.mark.parametrize("method", METHODS)
def test_changes_of_its_own_are_those_of_the_first_phase_alone(tmp_path: Path, method: str) -> None:
    strong = {"flip": 0.5, "crop": 0.5, "noise": 0.05}
    phase = {"method": method, "epochs": 2, "batch": 3, "projection": 4}
    shared = quick.check(quick.PLAIN, pretraining=phase, augmentation=strong)
    own = quick.check(quick.PLAIN, pretraining=phase | {"augmentation": strong})
    weak = quick.check(quick.PLAIN, pretraining=phase)
    found, same, other = (
        begun(wanted, tmp_path / name)
        for name, wanted in (("own", own), ("shared", shared), ("weak", weak))
    )
    assert all(torch.equal(one, same.weights[name]) for name, one in found.weights.items())
    assert any(not torch.equal(one, other.weights[name]) for name, one in found.weights.items())
    assert own.augmentation == weak.augmentation


@pytest.mark.parametrize("is_mixed", [False, True])
def test_the_first_phase_mixes_precision_where_the_training_does(
    tmp_path: Path, *, is_mixed: bool
) -> None:
    wanted = quick.check(
        quick.PLAIN,
        pretraining={"method": "contrastive", "epochs": 1, "learning_rate": 0.02},
        optimiser={"learning_rate": 0.01, "amp": is_mixed},
    )
    prepared = quick.images(tmp_path)
    asked: list[Recipe] = []

    def train(name: str, task: Task, by: Recipe) -> Weights:
        asked.append(by)
        return task.network().state_dict()

    assert wanted.pretraining is not None
    task, views = quick.kind_task(wanted, prepared), quick.views(wanted, prepared)
    pretraining.pretrain(task, wanted.pretraining, views, train)
    assert [(by.optimiser.amp, by.optimiser.learning_rate) for by in asked] == [(is_mixed, 0.02)]


@pytest.mark.parametrize(
    ("changes", "size", "sentence"),
    [
        ({"mixup": 0.2}, [16, 16], "more than images"),
        ({"missing": 0.1}, [16, 16], "more than images"),
        ({"quarter": 0.5}, [16, 24], "sides are equal"),
    ],
)
def test_changes_that_images_alone_cannot_bear_are_refused(
    changes: dict[str, float], size: list[int], sentence: str
) -> None:
    phase = {"method": "contrastive", "epochs": 1, "augmentation": changes}
    with pytest.raises(TrainingRefused, match=sentence):
        quick.check(quick.PLAIN, pretraining=phase, input=quick.PLAIN["input"] | {"size": size})


def test_a_transformer_begins_with_what_hidden_patches_taught_it(tmp_path: Path) -> None:
    once, twice = (
        begun(
            quick.check(
                quick.PLAIN,
                network={"name": "ViT", "arguments": TRANSFORMER},
                pretraining={"method": "masked-autoencoder", "epochs": epochs, "batch": 3},
            ),
            tmp_path / str(epochs),
        )
        for epochs in (1, 2)
    )
    fresh = once.inner.network().state_dict()
    last = {name for name in fresh if name.startswith("classification_head")}
    assert set(once.weights) == set(fresh) - last
    # both began with the same weights, so those that differ were learnt
    same = {name for name, one in once.weights.items() if torch.equal(one, twice.weights[name])}
    assert all("norm_cross_attn" in name for name in same)  # MONAI's blocks hold it and never ask


def test_a_network_without_feature_maps_is_told_to_take_the_other_method(tmp_path: Path) -> None:
    for method in METHODS:
        wanted = quick.check(
            quick.PLAIN,
            network={"name": "ViT", "arguments": TRANSFORMER | {"proj_type": "perceptron"}},
            pretraining={"method": method, "epochs": 1},
        )
        if method == "contrastive":
            assert begun(wanted, tmp_path / method).weights
        else:
            with pytest.raises(TrainingRefused, match="contrastive"):
                begun(wanted, tmp_path / method)
