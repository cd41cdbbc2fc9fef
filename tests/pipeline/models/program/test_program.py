"""What programs refuse, where they stop, and what they say of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.document import Document
from pipeline.errors import Interrupted, ModelMismatch, StudyRejected
from pipeline.models import predictors
from pipeline.models.bundle import BundleRefused
from pipeline.models.devices import Device
from pipeline.models.program import resolving
from pipeline.models.spec import InputSpec, Kind
from pipeline.reasons import Reason
from pipeline.volume import Channels, Image, Input
from tests.pipeline.models import tiny
from tests.pipeline.models.program import bundles, cases
from tests.pipeline.models.program.bundles import Case, configuration, go_on, step

PHOTO = Image(pixels=np.full((1, 30, 44, 3), 9, np.uint8))
CPU = Device("cpu", threads=1)


def opened(case: Case, folder: Path) -> Any:
    return predictors.open(case.write(folder / "bundle"), device=CPU)


def changed(case: Case, **parts: Any) -> Case:
    return replace(case, config={**case.config, **parts})


def with_post(case: Case, *transforms: Mapping[str, Any]) -> Case:
    return changed(case, postprocessing={"_target_": "Compose", "transforms": list(transforms)})


@pytest.mark.parametrize(
    ("case", "image", "wanted", "has"),
    [
        (cases.ORGANS, replace(bundles.volume(), header=tiny.header("MR")), "CT", "MR"),
        (cases.ORGANS, replace(bundles.volume(unit=""), header=tiny.header("CT")), "HU", "no unit"),
        (cases.ORGANS, PHOTO, "a volume", "a single image"),
        (cases.TUMOUR, bundles.volume(unit=""), "4 series", "1"),
        (cases.TUMOUR, Channels(volumes=(bundles.volume(unit=""),) * 3), "4 series", "3"),
        (cases.PHOTO_MASKS, bundles.volume(), "a single image", "a volume"),
        (cases.PHOTO_MASKS, Image(pixels=np.zeros((1, 8, 8), np.float32)), "3 channels", "1"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_both_values(
    case: Case, image: Input | Channels, wanted: str, has: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelMismatch) as refused:
        opened(case, tmp_path).predict(image, checkpoint=go_on)
    assert refused.value.reason is Reason.MODEL_INPUT_MISMATCH
    assert wanted in refused.value.sentence
    assert has in refused.value.sentence


def test_an_image_too_small_for_the_network_is_a_mismatch_too(tmp_path: Path) -> None:
    # seven voxels are four after one step down, two after two, and four and eight on the way up
    case = changed(
        cases.ORGANS,
        network_def={**cases.unet(1, 4), "channels": [4, 8, 8], "strides": [2, 2]},
        inferer={"_target_": "SimpleInferer"},
        preprocessing={"_target_": "Compose", "transforms": list(cases.LOAD)},
    )
    with pytest.raises(ModelMismatch, match="cannot take an image of"):
        opened(case, tmp_path).predict(bundles.volume((5, 7, 7)), checkpoint=go_on)


def test_an_answer_on_a_grid_that_nobody_states_is_refused(tmp_path: Path) -> None:
    case = changed(
        cases.ORGANS,
        inferer={"_target_": "SimpleInferer"},
        preprocessing={"_target_": "Compose", "transforms": list(cases.LOAD)},
        postprocessing={"_target_": "Compose", "transforms": []},
    )
    with pytest.raises(ModelMismatch, match=r"grid of \(8, 8, 6\) for an image of \(7, 7, 5\)"):
        opened(case, tmp_path).predict(bundles.volume((5, 7, 7)), checkpoint=go_on)


def test_what_no_image_holds_is_named(tmp_path: Path) -> None:
    guided = step("AddLabelAsGuidanced", "image", source="label")
    case = changed(
        cases.ORGANS, preprocessing={"_target_": "Compose", "transforms": [*cases.LOAD, guided]}
    )
    with pytest.raises(ModelMismatch, match=r"AddLabelAsGuidanced .* needs .*label"):
        opened(case, tmp_path).predict(bundles.volume(), checkpoint=go_on)


def test_ground_truth_that_a_program_loads_besides_is_passed_over(tmp_path: Path) -> None:
    both = ["image", "label"]
    case = changed(
        cases.ORGANS,
        preprocessing={
            "_target_": "Compose",
            "transforms": [step("LoadImaged", both), step("EnsureChannelFirstd", both)],
        },
        postprocessing={
            "_target_": "Compose",
            "transforms": [step("AsDiscreted", ["pred", "label"], argmax=[True, False])],
        },
    )
    found = opened(case, tmp_path).predict(bundles.volume(), checkpoint=go_on)
    assert found.label_map.shape == (12, 20, 18)


def test_answers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    case = with_post(cases.ORGANS, step("Lambdad", "pred", func="$lambda x: x / 0"))
    with pytest.raises(ModelMismatch, match="not finite"):
        opened(case, tmp_path).predict(bundles.volume(), checkpoint=go_on)


def test_label_numbers_without_a_name_are_refused(tmp_path: Path) -> None:
    case = with_post(
        cases.ORGANS,
        step("AsDiscreted", "pred", argmax=True),
        cases.invert(nearest_interp=True),
        step("Lambdad", "pred", func="$lambda x: x * 0 + 7"),
    )
    with pytest.raises(ModelMismatch, match="label 7, stated are 0, 1, 2, 3"):
        opened(case, tmp_path).predict(bundles.volume(), checkpoint=go_on)


def test_scores_outside_of_0_to_1_ask_for_an_activation(tmp_path: Path) -> None:
    case = with_post(cases.PHOTO_CLASSES)
    with pytest.raises(ModelMismatch, match="no probabilities"):
        opened(case, tmp_path).predict(PHOTO, checkpoint=go_on)
    named = replace(case, options={"activation": "softmax"})
    found = opened(named, tmp_path / "named").predict(PHOTO, checkpoint=go_on)
    assert sum(one.score for one in found.findings) == pytest.approx(1)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()


def test_a_program_that_decides_gives_the_label_and_says_that_it_has_no_scores(
    tmp_path: Path,
) -> None:
    case = with_post(cases.PHOTO_CLASSES, step("AsDiscreted", "pred", argmax=True, to_onehot=3))
    found = opened(case, tmp_path).predict(PHOTO, checkpoint=go_on)
    assert sorted(one.score for one in found.findings) == [0.0, 0.0, 1.0]
    assert "the label alone" in found.warnings[0]


def test_masks_may_overlap_and_then_the_last_label_counts(tmp_path: Path) -> None:
    case = replace(
        with_post(
            cases.ORGANS,
            step("Activationsd", "pred", sigmoid=True),
            cases.invert(),
            step("AsDiscreted", "pred", threshold=0.5),
            step("Lambdad", "pred", func="$lambda x: x[1:] * 0 + 1"),
        ),
        labels=("liver", "spleen", "pancreas"),
    )
    found = opened(case, tmp_path).predict(bundles.volume(), checkpoint=go_on)
    assert (found.label_map == 3).all()
    assert found.warnings == (
        f"{12 * 20 * 18} voxels lie in several masks; there the last label counts",
    )


def test_label_numbers_are_never_interpolated(tmp_path: Path) -> None:
    written = with_post(cases.ORGANS, step("AsDiscreted", "pred", argmax=True), cases.invert())
    nearest = with_post(
        cases.ORGANS,
        step("AsDiscreted", "pred", argmax=True),
        cases.invert(nearest_interp=True),
    )
    found = opened(written, tmp_path).predict(bundles.volume(), checkpoint=go_on)
    expected = opened(nearest, tmp_path / "named").predict(bundles.volume(), checkpoint=go_on)
    assert len(np.unique(found.label_map)) > 2
    np.testing.assert_array_equal(found.label_map, expected.label_map)
    assert "by the nearest voxel" in found.warnings[0]
    assert expected.warnings == ()


def test_a_run_stops_between_two_windows(tmp_path: Path) -> None:
    predictor = opened(cases.ORGANS, tmp_path)
    calls = []

    def stop() -> None:
        calls.append(None)
        if len(calls) == 4:
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        predictor.predict(bundles.volume((14, 24, 22)), checkpoint=stop)
    # and leaves nothing behind that the next job would run into
    assert predictor.predict(bundles.volume(), checkpoint=go_on).label_map is not None


def test_the_run_report_says_how_it_ran(tmp_path: Path) -> None:
    found = opened(cases.ORGANS_AS_WRITTEN, tmp_path).predict(bundles.volume(), checkpoint=go_on)
    assert found.options["device"] == "cpu"
    assert found.options["dtype"] == "float32"
    # a CPU computes in float32 whatever the configuration says of amp, as MONAI's evaluator does
    assert found.options["amp"] is False
    assert set(found.seconds) >= {"preprocess", "wait", "model"}


def test_a_score_threshold_of_the_bundle_drops_boxes_below_it(tmp_path: Path) -> None:
    strict = replace(cases.NODULES, options={"score_threshold": 0.8})
    found = opened(strict, tmp_path).predict(bundles.volume((12, 20, 18)), checkpoint=go_on)
    assert found.findings
    assert min(one.score for one in found.findings) >= 0.8


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    written = cases.ORGANS.write(tmp_path / "bundle")
    other = json.loads(json.dumps(cases.ORGANS.config))
    other["network_def"]["channels"] = [4, 16]
    (written.folder / bundles.PROGRAM).write_text(json.dumps(other))
    with pytest.raises(BundleRefused, match="size mismatch"):
        predictors.open(written, device=CPU)


def test_a_configuration_without_a_network_is_refused() -> None:
    document = Document(config={"preprocessing": {"_target_": "Compose", "transforms": []}})
    assert resolving.faults(document) == ["the configuration names no network"]


def test_faults_of_a_program_name_the_code_that_a_bundle_brought() -> None:
    config = configuration({"_target_": "scripts.net.Special"}, [*cases.LOAD], [cases.WRITE])
    (fault,) = resolving.faults(Document(config=config))
    assert "scripts.net.Special" in fault


@pytest.mark.parametrize("name", ["ORGANS", "TUMOUR", "PHOTO_CLASSES", "PHOTO_MASKS", "NODULES"])
def test_programs_of_every_kind_are_found_without_fault(name: str) -> None:
    assert resolving.faults(Document(config=getattr(cases, name).config)) == []


def test_volumes_of_several_grids_are_no_channels() -> None:
    first = bundles.volume()
    moved = first.affine.copy()
    moved[0, 3] += 1.0
    with pytest.raises(StudyRejected, match="1 mm away"):
        Channels(volumes=(first, replace(first, affine=moved)))
    with pytest.raises(StudyRejected, match="voxels"):
        Channels(volumes=(first, bundles.volume((3, 4, 5))))
    assert len(Channels(volumes=(first, first)).volumes) == 2


def test_a_finer_answer_lies_within_the_same_borders(tmp_path: Path) -> None:
    finer = {
        "_target_": "SubpixelUpsample",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 1,
        "scale_factor": 2,
    }
    case = Case(
        config=configuration(finer, [*cases.LOAD], []),
        kind=Kind.RESTORATION,
        labels=(),
        input=InputSpec(modalities=("CT",), spatial_dims=3),
    )
    volume = bundles.volume((4, 6, 5))
    (derived,) = opened(case, tmp_path).predict(volume, checkpoint=go_on).derived
    assert derived.values.shape == (8, 12, 10)
    ends = np.array([[-0.5, -0.5, -0.5, 1], [7.5, 11.5, 9.5, 1]])
    borders = np.array([[-0.5, -0.5, -0.5], [3.5, 5.5, 4.5]])
    np.testing.assert_allclose((ends @ derived.affine.T)[:, :3], volume.to_patient(borders))
    assert torch.isfinite(torch.from_numpy(derived.values)).all()
