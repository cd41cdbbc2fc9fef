"""The language of steps: closed, and checked before anything runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.preprocess.steps import NAMES, ImageStep, Kind, faults, keeps_unit, makes_mask
from tests.pipeline.preprocess.inputs import chain

DOCS = Path(__file__).parents[3] / "docs" / "preprocessing.md"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"mean": {"radius_mm": 1}}, "mean"),
        ({"median": {"radius_mm": 1}, "otsu": {}}, "exactly one step"),
        ({}, "exactly one step"),
        ({"median": {}}, "exactly one of radius_mm, radius_voxels"),
        ({"median": {"radius_mm": 1, "radius_voxels": 2}}, "exactly one of radius_mm"),
        ({"median": {"radius_mm": float("nan")}}, "median.radius_mm"),
        ({"gaussian": {}}, "exactly one of sigma_mm"),
        ({"crop": {"size": 3, "above": 4}}, "exactly one of size, size_mm, above"),
        ({"crop": {"size": 3, "margin_mm": 4}}, "margin_mm goes with above"),
        ({"crop": {"size": [3]}}, "crop.size"),
        ({"pad": {}}, "exactly one of size, margin_mm"),
        ({"orient": {"to": "RLS"}}, "one letter each"),
        ({"window": {"level": 1, "width": 0}}, "window.width"),
        ({"normalise": {"by": "percentiles", "low": 9, "high": 9}}, "low must be below high"),
        ({"threshold": {}}, "a minimum or a maximum"),
        ({"grow": {"seed_minimum": 4}}, "a minimum or a maximum"),
        ({"grow": {"minimum": 4}}, "it wants seed_mm"),
        ({"canny": {"sigma_mm": 1, "low": 0.9, "high": 0.8}}, "low must not be above high"),
    ],
    ids=str,
)
def test_mistakes_in_a_step_are_named(step: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        chain(step)


@pytest.mark.parametrize(
    ("steps", "kind", "said"),
    [
        ([{"open": {"radius_mm": 1}}], "volume", "open mends a mask, and no step before it"),
        ([{"otsu": {}}, {"median": {"radius_mm": 1}}], "volume", "median reads values, and a"),
        ([{"orient": {"to": "RAS"}}], "image", "orient needs a volume"),
        ([{"grow": {"minimum": 1, "seed_mm": [1, 2, 3]}}], "image", "grow needs a volume"),
        ([{"crop": {"size": [3, 4]}}], "volume", "crop states 2 sizes where the volume has 3"),
        ([{"resample": {"spacing_mm": [3, 4, 5]}}], "image", "resample states 3 sizes"),
    ],
    ids=str,
)
def test_steps_that_cannot_follow_each_other_are_named(
    steps: list[dict[str, Any]], kind: Kind, said: str
) -> None:
    (fault,) = faults(chain(*steps), kind)
    assert fault.startswith(said)


def test_a_chain_from_values_to_a_mended_mask_has_no_fault() -> None:
    steps = chain({"otsu": {}}, {"crop": {"size": [3, 4, 5]}}, {"largest": {}})
    assert list(faults(steps, "volume")) == []
    assert makes_mask(steps)
    assert not keeps_unit(steps)


def test_a_step_survives_json_and_is_told_in_words() -> None:
    kept: TypeAdapter[tuple[ImageStep, ...]] = TypeAdapter(tuple[ImageStep, ...])
    steps = chain({"resample": {"spacing_mm": [3, 1.5, 1.5]}}, {"median": {"radius_mm": 1}})
    document = kept.dump_json(steps, exclude_none=True)
    assert kept.validate_json(document) == steps
    assert [str(one) for one in steps] == [
        "resample (spacing_mm 3 x 1.5 x 1.5, interpolation linear)",
        "median (radius_mm 1, slicewise False)",
    ]


def test_the_example_for_readers_is_a_chain() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert list(faults(chain(*yaml.safe_load(block)["steps"]), "volume")) == []


def test_every_step_is_described_for_readers() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", DOCS.read_text(), re.MULTILINE)
    assert rows == list(NAMES)
