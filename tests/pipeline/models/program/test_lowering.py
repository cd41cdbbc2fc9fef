"""Which programs are run by our own way, and why others are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelMismatch
from pipeline.models import autotune, grids, predictors
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec
from pipeline.models.tuned import Cache
from tests.pipeline.models.program import bundles, cases
from tests.pipeline.models.program.bundles import Case, go_on, step
from tests.pipeline.models.test_against_monai import affine

# what MONAI says of inverting nothing is no fault of the program
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:monai.*")

CPU = Device("cpu", threads=1)
SPACED = InputSpec(
    modalities=("CT",), spatial_dims=3, orientation="RAS", spacing=(1.5, 1.5, 2.0), size=(8, 8, 8)
)


def changed(part: str, *transforms: Mapping[str, Any]) -> Case:
    chain = {"_target_": "Compose", "transforms": list(transforms)}
    return replace(cases.ORGANS, config={**cases.ORGANS.config, part: chain})


def windowed(**others: Any) -> Case:
    return replace(cases.ORGANS, config={**cases.ORGANS.config, "inferer": cases.windows(**others)})


def way(case: Case, folder: Path) -> str:
    predictor = predictors.open(case.write(folder / "bundle"), device=CPU)
    found = predictor.predict(bundles.volume((6, 8, 8)), checkpoint=go_on)
    return str(found.options["way"])


LOAD, (TURN, SPACE), SCALE = cases.LOAD, cases.ON_GRID, cases.WINDOWED
SOFTMAX, LARGEST = (
    step("Activationsd", "pred", softmax=True),
    step("AsDiscreted", "pred", argmax=True),
)


@pytest.mark.parametrize(
    "case",
    [
        cases.ORGANS,
        cases.ORGANS_CROPPED,
        changed("preprocessing", *LOAD, SCALE),
        changed("preprocessing", step("LoadImaged", ensure_channel_first=True), TURN, SCALE),
        changed("postprocessing", cases.invert(), SOFTMAX, LARGEST, cases.WRITE),
        windowed(mode="gaussian"),
    ],
)
def test_the_usual_form_is_recognised_in_its_variants(case: Case, tmp_path: Path) -> None:
    assert way(case, tmp_path).startswith("by ours")


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (changed("preprocessing", *LOAD, SCALE, SPACE), "Spacingd comes late or twice"),
        (changed("preprocessing", *LOAD, TURN, SPACE), "other than a window"),
        (
            changed("preprocessing", *LOAD, TURN, {**SPACE, "mode": "nearest"}, SCALE),
            "resamples in a way of its own",
        ),
        (changed("preprocessing", *LOAD, {**SCALE, "clip": False}), "other than 0..1"),
        (
            changed(
                "preprocessing",
                *LOAD,
                {**TURN, "labels": [["R", "L"], ["A", "P"], ["S", "I"]]},
                SCALE,
            ),
            "orients in a way of its own",
        ),
        (changed("preprocessing", *LOAD, {**SCALE, "b_max": 2.0}), "other than 0..1"),
        (
            changed(
                "preprocessing", *LOAD, SCALE, step("CropForegroundd", source_key="image", margin=2)
            ),
            "crops in a way of its own",
        ),
        (windowed(padding_mode="replicate"), "padded or passed"),
        (windowed(mode="gaussian", sigma_scale=0.2), "weighted else"),
        (changed("postprocessing", SOFTMAX, LARGEST), "not inverted"),
        (
            changed("postprocessing", cases.invert(nearest_interp=True), LARGEST),
            "inverted in a way",
        ),
        (changed("postprocessing", LARGEST, cases.invert(nearest_interp=True)), "end with a label"),
        (
            changed(
                "postprocessing",
                step("Activationsd", "pred", sigmoid=True),
                cases.invert(),
                LARGEST,
            ),
            "no softmax",
        ),
        (
            changed("postprocessing", cases.invert(), {**LARGEST, "to_onehot": 4}),
            "not the largest channel",
        ),
    ],
)
def test_whatever_says_something_else_runs_as_it_is_written(
    case: Case, why: str, tmp_path: Path
) -> None:
    found = way(case, tmp_path)
    assert found.startswith("as written, because")
    assert why in found


def test_probabilities_are_those_that_decide_the_label(tmp_path: Path) -> None:
    predictor: Any = predictors.open(cases.ORGANS.write(tmp_path / "bundle"), device=CPU)
    found = predictor.predict_with_probabilities(bundles.volume(), checkpoint=go_on)
    shares = np.stack([one.values for one in found.maps])
    background = 1 - shares.sum(axis=0)
    assert background.min() >= -1e-5
    largest = np.concatenate([background[None], shares]).argmax(axis=0)
    assert (largest == found.label_map).mean() > 0.999


def test_probabilities_on_a_grid_that_monai_lays_elsewhere_say_so(tmp_path: Path) -> None:
    predictor: Any = predictors.open(cases.ORGANS.write(tmp_path / "bundle"), device=CPU)
    oblique = bundles.volume(affine=affine((3.0, 1.1, 0.9), degrees=(12, -20, 9)))
    shifted = predictor.predict_with_probabilities(oblique, checkpoint=go_on)
    assert shifted.options["way"].endswith("on a grid of ours")
    assert any("beside the one" in sentence for sentence in shifted.warnings)
    straight = predictor.predict_with_probabilities(bundles.volume(), checkpoint=go_on)
    assert not any("beside the one" in sentence for sentence in straight.warnings)


def test_more_channels_than_labels_are_refused_here_too(tmp_path: Path) -> None:
    case = replace(cases.ORGANS, labels=("liver",))
    predictor = predictors.open(case.write(tmp_path / "bundle"), device=CPU)
    with pytest.raises(ModelMismatch, match="stated are 1"):
        predictor.predict(bundles.volume((14, 24, 22)), checkpoint=go_on)


def test_monai_lays_its_grid_elsewhere_only_where_cosines_are_rounded() -> None:
    oblique = affine((3.0, 1.1, 0.9), degrees=(12, -20, 9))
    exact = replace(bundles.volume(), affine=oblique)
    rounded = bundles.volume(affine=oblique)
    assert grids.shift_of_monai(exact, SPACED) < 1e-9
    assert grids.shift_of_monai(rounded, SPACED) > 0.5
    assert grids.shift_of_monai(bundles.volume(), SPACED) < 1e-9


def test_a_program_of_the_usual_form_is_tuned_and_run_as_chosen(tmp_path: Path) -> None:
    bundle = cases.ORGANS.write(tmp_path / "bundle")
    device = Device("cpu", threads=1, tuned=Cache(tmp_path / "tuned.json"))
    assert device.tuned is not None
    tuned = autotune.tune_bundle(bundle, device, device.tuned, seconds=0.0)
    # as if eight windows at once had been the fastest
    (key,) = json.loads((tmp_path / "tuned.json").read_text())
    chosen = tuned.choice.model_copy(update={"batch": 8})
    device.tuned.keep(key, tuned.model_copy(update={"choice": chosen}))
    found = predictors.open(bundle, device=device).predict(bundles.volume(), checkpoint=go_on)
    assert found.options["batch"] == 8


def test_a_program_of_another_form_is_not_tuned_and_says_why(tmp_path: Path) -> None:
    case = changed("preprocessing", *LOAD, step("NormalizeIntensityd", "image"))
    cache = Cache(tmp_path / "tuned.json")
    with pytest.raises(autotune.NotTuned, match="NormalizeIntensityd is in its preprocessing"):
        autotune.tune_bundle(case.write(tmp_path / "bundle"), CPU, cache)
