"""Recipes: closed, checked as a whole, digested by meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import models
from pipeline.errors import TrainingRefused
from pipeline.models import metadata
from pipeline.reasons import Reason
from pipeline.training import recipe
from tests import quick_training

VALID = quick_training.CLASSIFICATION


def refusal(document: Any) -> str:
    with pytest.raises(TrainingRefused) as refused:
        recipe.check(document)
    assert refused.value.reason is Reason.TRAINING_RECIPE_INVALID
    return refused.value.sentence


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in VALID.items() if key != name}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (without("epochs"), "epochs"),
        (VALID | {"epoch": 3}, "epoch"),
        (VALID | {"epochs": 0}, "epochs"),
        (VALID | {"kind": "regression"}, "kind"),
        (VALID | {"loss": "retinanet"}, "loss"),
        (VALID | {"name": "../escape"}, "name"),
        (VALID | {"labels": []}, "labels"),
        (VALID | {"labels": [{"number": 1, "name": "a"}, {"number": 2, "name": "b"}]}, "numbered"),
        (VALID | {"labels": [{"number": 0, "name": "a"}, {"number": 1, "name": "a"}]}, "name"),
        (VALID | {"network": {"name": "os.system"}}, "os.system"),
        (
            VALID | {"network": VALID["network"] | {"arguments": {"spatial_dims": 2}}},
            "out_channels",
        ),
        (VALID | {"input": VALID["input"] | {"size": [16]}}, "size"),
        (VALID | {"input": VALID["input"] | {"window": [1, 0]}}, "low to high"),
        (VALID | {"input": VALID["input"] | {"channels": 3}}, "in_channels"),
        (
            quick_training.SEGMENTATION
            | {"input": quick_training.SEGMENTATION["input"] | {"channels": 3}},
            "several images",
        ),
        (VALID | {"split": {"validation": 0.5, "held_out": 0.5}}, "train"),
        (VALID | {"options": {"no_such": 1}}, "no_such"),
        (VALID | {"degradation": {"noise": [0.1, 0.1]}}, "degradation"),
        (quick_training.RESTORATION | {"degradation": None}, "degradation"),
        (quick_training.RESTORATION | {"degradation": {}}, "as they are"),
        (quick_training.RESTORATION | {"degradation": {"noise": [0.2, 0.1]}}, "low to a high"),
        (quick_training.RESTORATION | {"degradation": {"downsample": 2}}, "options.scale"),
        (quick_training.RESTORATION | {"augmentation": {"noise": 0.1}}, "augmentation"),
        (quick_training.RESTORATION | {"labels": [{"number": 0, "name": "a"}]}, "no labels"),
        (
            quick_training.RESTORATION
            | {"input": quick_training.RESTORATION["input"] | {"orientation": "RAS"}},
            "grid",
        ),
        (
            quick_training.RESTORATION
            | {
                "augmentation": {"quarter": 0.5},
                "input": quick_training.RESTORATION["input"] | {"size": [8, 16]},
            },
            "quarter",
        ),
        ("text", "recipe"),
        (None, "recipe"),
    ],
)
def test_what_is_missing_unknown_or_out_of_range_is_named(document: Any, named: str) -> None:
    assert named in refusal(document)


def test_every_fault_is_named_at_once() -> None:
    sentence = refusal(VALID | {"epochs": 0, "batch": 0, "seed": -1})
    assert all(name in sentence for name in ("epochs", "batch", "seed"))


@pytest.mark.parametrize("text", ["a: [", "{" * 1_000])
def test_text_that_is_not_yaml_is_refused(text: str) -> None:
    with pytest.raises(TrainingRefused):
        recipe.parse(text)


def test_a_field_that_is_given_twice_is_refused_by_name() -> None:
    with pytest.raises(TrainingRefused, match="'batch' is given twice"):
        recipe.parse(yaml.safe_dump(VALID | {"batch": 4}) + "batch: 8\n")


def test_yaml_that_would_make_objects_is_refused() -> None:
    with pytest.raises(TrainingRefused):
        recipe.parse("!!python/object/apply:os.system ['true']")


def test_the_digest_is_of_the_meaning_not_the_layout() -> None:
    first = recipe.parse(yaml.safe_dump(VALID, sort_keys=True))
    second = recipe.parse(yaml.safe_dump(VALID | {"batch": 4}, sort_keys=False))
    assert first.digest == second.digest
    assert recipe.check(VALID | {"seed": 4}).digest != first.digest


def test_a_recipe_survives_the_way_through_its_own_json() -> None:
    wanted = recipe.check(quick_training.SEGMENTATION)
    assert recipe.check(wanted.model_dump(mode="json")) == wanted


SHIPPED = pytest.mark.parametrize(
    "path",
    sorted(Path(models.__path__[0]).glob("*/recipe.yaml")),
    ids=lambda path: path.parent.name,
)


@SHIPPED
def test_a_shipped_bundle_is_of_the_recipe_beside_it(path: Path) -> None:
    stated = json.loads((path.parent / "configs" / "metadata.json").read_text())
    wanted = recipe.parse(path.read_text())
    assert stated["training"]["recipe_digest"] == wanted.digest
    kept = json.loads((path.parent / "configs" / "recipe.json").read_text())
    assert kept == wanted.stated()


def test_how_cases_are_judged_is_stated_where_it_is_asked_for() -> None:
    plain = recipe.check(quick_training.DETECTION)
    assert "evaluation" not in plain.stated()
    asked = recipe.check(quick_training.DETECTION | {"evaluation": {"hit_iou": 0.3}})
    assert asked.stated()["evaluation"]["hit_iou"] == 0.3
    assert asked.digest != plain.digest


@SHIPPED
def test_the_shipped_recipes_are_valid_and_called_as_their_folder(path: Path) -> None:
    wanted = recipe.parse(path.read_text())
    assert wanted.name == path.parent.name
    assert wanted.demonstration
    _, faults = metadata.parse(metadata.dump(wanted.spec("1.0"), {}), digest="")
    assert faults == []
