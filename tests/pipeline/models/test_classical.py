"""Masks of classical chains against shapes that are known, from bundles that are data."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import Interrupted, ModelMismatch
from pipeline.models import bundle, metadata, predictors
from pipeline.models.devices import Device
from pipeline.models.predictor import Checkpoint
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.phantoms import PhantomParameters, Tissue, chest
from pipeline.results import Prediction, Segment
from pipeline.volume import Image, Input
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

MODELS = Path(__file__).parents[3] / "models"
SHIPPED = MODELS / "classical-ct-bone"
BLOCK = np.s_[3:8, 6:14, 5:13]


def predict(
    image: Input,
    *steps: dict[str, Any],
    checkpoint: Checkpoint = go_on,
    dims: int = 3,
    unit: str | None = None,
) -> Prediction:
    spec = ModelSpec(
        name="chain",
        version="1",
        kind=Kind.CLASSICAL,
        title="A chain",
        input=InputSpec(modalities=("CT",), spatial_dims=dims, unit=unit),
        labels=(Label(number=1, name="block"),),
        options={"steps": list(steps)},
    )
    made = predictors.open(bundle.Bundle(spec=spec, folder=MODELS), device=Device())
    return made.predict(image, checkpoint=checkpoint)


def blocks() -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return a block of 200 with a hole and a bright voxel in it, and one of 100 apart from it."""
    stored = np.full((12, 20, 18), -100, np.int16)
    stored[BLOCK] = 200
    stored[5, 10, 9] = -50
    stored[4, 8, 7] = 400
    stored[1:3, 16:19, 15:17] = 200
    return stored


CHAIN: list[dict[str, Any]] = [
    {"grow": {"minimum": 150, "seed_minimum": 300}},
    {"fill_holes": {}},
]


def test_growing_and_filling_find_the_block_exactly() -> None:
    source = tiny.volume(stored=blocks())
    found = predict(source, *CHAIN)
    truth = np.zeros(source.stored.shape, np.uint8)
    truth[BLOCK] = 1
    np.testing.assert_array_equal(found.label_map, truth)
    (segment,) = found.findings
    assert isinstance(segment, Segment)
    assert segment.voxels == 5 * 8 * 8
    # voxels of 2.5 x 1.1 x 0.9 mm
    assert segment.volume_ml == pytest.approx(320 * 2.475 / 1000)
    assert segment.centroid == pytest.approx(tuple(source.to_patient(np.array([5, 9.5, 8.5]))))
    assert found.warnings == ()


def test_a_chain_that_moves_voxels_answers_on_the_source_and_keeps_what_it_measured() -> None:
    source = tiny.volume(stored=blocks())
    moved = [{"pad": {"margin_mm": 3}}, {"orient": {"to": "RAS"}}, {"crop": {"above": 0}}]
    found = predict(source, *moved, *CHAIN)
    np.testing.assert_array_equal(found.label_map, predict(source, *CHAIN).label_map)
    steps: Any = found.options["steps"]
    assert steps[3] == {
        "step": "grow",
        "parameters": {"minimum": 150, "seed_minimum": 300, "connected_by": "faces"},
        "found": {"regions": 1},
    }
    json.dumps(dict(found.options))


def test_an_image_is_parted_frame_by_frame() -> None:
    frames = np.zeros((2, 16, 16), np.float32)
    frames[0, 2:9, 3:8] = 90
    frames[1, 10:14, 2:15] = 80
    found = predict(Image(pixels=frames), {"otsu": {}}, {"largest": {}}, dims=2)
    np.testing.assert_array_equal(found.label_map, frames > 0)


def test_nothing_found_is_said() -> None:
    empty = tiny.volume(stored=np.full((4, 9, 9), -1000, np.int16))
    found = predict(empty, *CHAIN)
    assert found.warnings == ("no block was found",)
    assert found.label_map is not None
    assert not found.label_map.any()


def test_what_the_model_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="in HU"):
        predict(tiny.volume(unit=""), *CHAIN)
    with pytest.raises(ModelMismatch, match="needs a volume"):
        predict(Image(pixels=np.zeros((1, 9, 9), np.float32)), *CHAIN)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_unit_that_the_model_does_not_mean_is_refused(dims: int) -> None:
    def answer(unit: str) -> Prediction:
        image: Input = Image(pixels=np.zeros((1, 9, 9), np.float32), unit=unit)
        return predict(
            tiny.volume(unit=unit) if dims == 3 else image,
            {"threshold": {"minimum": 4}},
            dims=dims,
            unit="g/mL",
        )

    assert answer("g/mL").label_map is not None
    with pytest.raises(ModelMismatch, match="needs values in g/mL, not Bq/mL"):
        answer("Bq/mL")
    with pytest.raises(ModelMismatch, match="the image states no unit"):
        answer("")


def test_a_chain_can_be_stopped() -> None:
    def stop() -> None:
        raise Interrupted("canceled")

    with pytest.raises(Interrupted):
        predict(tiny.volume(), *CHAIN, checkpoint=stop)


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (12.0, -9.0, 15.0)])
def test_the_shipped_chain_finds_the_bone_of_a_chest(rotation: tuple[float, float, float]) -> None:
    made = chest(PhantomParameters(shape=(20, 96, 96), spacing=(4.0, 3.4, 3.2), rotation=rotation))
    shipped = predictors.open(bundle.load(SHIPPED), device=Device())
    found = shipped.predict(made.volume, checkpoint=go_on).label_map
    assert found is not None
    truth = made.mask(Tissue.BONE)
    assert truth.sum() > 1000
    assert 2 * (truth & (found > 0)).sum() / (truth.sum() + found.sum()) > 0.9


def stated(**options: Any) -> tuple[ModelSpec | None, list[str]]:
    document = json.loads((SHIPPED / bundle.METADATA).read_text())
    document["nightshift"] |= options
    return metadata.parse(json.dumps(document), digest="")


def test_metadata_of_a_chain_survive_writing() -> None:
    spec = bundle.load(SHIPPED).spec
    again, faults = metadata.parse(metadata.dump(spec, {}), digest=spec.digest)
    assert faults == []
    assert again is not None
    assert dataclasses.replace(again, digest="") == dataclasses.replace(spec, digest="")
    assert not spec.has_weights


def test_the_example_for_readers_is_valid() -> None:
    page = (MODELS.parent / "docs" / "preprocessing.md").read_text()
    (block,) = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    _, faults = stated(**json.loads(block))
    assert faults == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"options": {"steps": [{"median": {"radius_mm": 1}}]}}, "no step makes a mask"),
        ({"options": {"steps": []}}, "steps"),
        ({"options": {"steps": [{"otsu": {"bin": 3}}]}}, "steps.0.otsu.bin"),
        ({"options": {"steps": [{"close": {"radius_mm": 1}}, {"otsu": {}}]}}, "close mends a mask"),
        (
            {
                "input": {"modalities": ["US"], "spatial_dims": 2},
                "options": {"steps": [{"orient": {"to": "RAS"}}, {"otsu": {}}]},
            },
            "orient needs a volume",
        ),
        ({"labels": [{"number": 1, "name": "a"}, {"number": 2, "name": "b"}]}, "one label"),
        ({"labels": [{"number": 0, "name": "a"}]}, "numbered from 1"),
        ({"network": {"name": "UNet"}}, "neither network nor program"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_in_a_chain_are_named(options: dict[str, Any], said: str) -> None:
    spec, faults = stated(**options)
    assert spec is None
    assert any(said in fault for fault in faults), faults
