"""Made images: of the class they are made for, in the training part alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import Interrupted, TrainingRefused
from pipeline.training import data, generation
from pipeline.training.data import Prepared
from tests import quick_variants as quick

WANTED = {"per_class": 5, "epochs": 2, "batch": 6, "latent": 8, "features": 4}


def extended(folder: Path, cases: Prepared, *stops: int, **more: object) -> Prepared:
    wanted = quick.check(quick.PLAIN, generated=WANTED | more)
    assert wanted.generated is not None
    seen = replace(quick.views(wanted, cases), places=cases.training)
    folder.mkdir(exist_ok=True, parents=True)
    train = quick.phase(folder, *(quick.stopping_after(one) for one in stops))
    return generation.extended(cases, wanted.generated, seen, folder / "made", train)


def test_so_many_of_each_class_join_the_training_part_and_no_other(tmp_path: Path) -> None:
    cases = quick.images(tmp_path)
    cases = replace(cases, validation=cases.training[:2], training=cases.training[2:])
    more = extended(tmp_path, cases)
    assert (more.validation, more.unlabelled) == (cases.validation, cases.unlabelled)
    assert more.training[: len(cases.training)] == cases.training
    made = [data.load(place) for place in more.training[len(cases.training) :]]
    assert [int(one["class"]) for one in made] == [0] * 5 + [1] * 5
    for one in made:
        image = np.asarray(one["image"])
        assert image.shape == (1, 16, 16)
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1
    assert not np.array_equal(made[0]["image"], made[1]["image"])


def test_a_generator_makes_dark_and_bright_images_as_it_is_asked_to(tmp_path: Path) -> None:
    cases = quick.images(tmp_path, 48)
    more = extended(tmp_path, cases, epochs=15, batch=4, learning_rate=0.01)
    means = {0: [], 1: []}
    for place in more.training[len(cases.training) :]:
        means[int(data.load(place)["class"])].append(float(data.load(place)["image"].mean()))
    # those it learns from have 0.2 and 0.7
    assert np.mean(means[1]) > np.mean(means[0]) + 0.1


def test_stopped_it_goes_on_to_the_same_images(tmp_path: Path) -> None:
    cases = quick.images(tmp_path)
    whole = extended(tmp_path / "whole", cases)
    with pytest.raises(Interrupted):
        extended(tmp_path / "stopped", cases, 2)
    again = extended(tmp_path / "stopped", cases)
    for one, other in zip(whole.training, again.training, strict=True):
        assert np.array_equal(data.load(one)["image"], data.load(other)["image"])


def test_each_turn_pulls_at_its_own_network_alone(tmp_path: Path) -> None:
    cases = quick.images(tmp_path)
    wanted = quick.check(quick.PLAIN, generated=WANTED)
    assert wanted.generated is not None
    task = generation.Generation(wanted=wanted.generated, views=quick.views(wanted, cases))
    network = task.network()
    judge, generator = task.turns(network)
    batch = next(task.batches(0, 0))
    pulled = torch.autograd.grad(
        judge.loss(network, batch), [*network.parameters()], allow_unused=True
    )
    reached = {
        name.split(".")[0]
        for (name, _), one in zip(network.named_parameters(), pulled, strict=True)
        if one is not None
    }
    assert reached == {"judge"}
    assert len(judge.parameters) + len(generator.parameters) == len([*network.parameters()])


@pytest.mark.parametrize("size", [[15, 16], [8, 9]])
def test_sizes_that_cannot_be_halved_are_refused(size: list[int]) -> None:
    stated = quick.PLAIN["input"] | {"size": size}
    with pytest.raises(TrainingRefused, match="even"):
        quick.check(quick.PLAIN, generated=WANTED, input=stated)
