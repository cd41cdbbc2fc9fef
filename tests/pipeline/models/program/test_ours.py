"""What stands for the code that bundles bring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipeline.models import predictors
from pipeline.models.devices import Device
from pipeline.models.program import boxes
from pipeline.models.program.boxes import Boxes
from pipeline.models.program.transforms import ConcatImages, MergeClassesd
from pipeline.models.spec import InputSpec, Kind, Label
from pipeline.results import Detection
from pipeline.volume import Channels
from tests.pipeline.models.program import bundles, cases
from tests.pipeline.models.program.bundles import Case, configuration, go_on, nifti, step

CPU = Device("cpu", threads=1)
PHASES = ["artery", "vein"]


def test_boxes_by_windows_are_those_of_monais_detector(tmp_path: Path) -> None:
    operations = [
        *cases.NODULES.config["detector_ops"][:2],
        "$@detector.set_sliding_window_inferer(roi_size=[8, 8, 8],overlap=0.25)",
    ]
    config = {**cases.NODULES.config, "detector_ops": operations}
    config["inferer"] = {**config["inferer"], "force_sliding_window": True}
    case = replace(cases.NODULES, config=config)
    volume = bundles.volume((12, 20, 18))
    expected = case.monai_boxes(nifti(volume, tmp_path / "image.nii"), by_windows=True)
    predictor = predictors.open(case.write(tmp_path / "bundle"), device=CPU)
    found = [
        one
        for one in predictor.predict(volume, checkpoint=go_on).findings
        if isinstance(one, Detection)
    ]
    order = np.argsort(-expected["label_scores"].numpy(), kind="stable")
    assert len(found) == len(order) > 0
    np.testing.assert_allclose(
        [one.score for one in found], expected["label_scores"][order], atol=1e-6
    )
    np.testing.assert_allclose([one.centre for one in found], expected["box"][order, :3], atol=1e-3)


def test_of_masks_that_overlap_the_first_counts() -> None:
    masks = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1.0]])[:, None, None]
    merged = MergeClassesd("pred")({"pred": masks})["pred"]
    assert merged.flatten().tolist() == [0, 1, 1, 2]
    assert masks.shape[0] == 3


def test_images_are_joined_in_their_order() -> None:
    data = {"late": torch.ones(1, 2, 2), "early": torch.zeros(1, 2, 2)}
    joined = ConcatImages(["early", "late"], "image")(data)["image"]
    assert joined[:, 0, 0].tolist() == [0, 1]


def test_phases_under_keys_of_their_own_become_channels(tmp_path: Path) -> None:
    case = Case(
        config=configuration(
            cases.unet(2, 3),
            [
                step("LoadImaged", [*PHASES, "label"], image_only=False),
                step("EnsureChannelFirstd", PHASES),
                {
                    "_target_": "scripts.my_transforms.ConcatImages",
                    "keys_merge": PHASES,
                    "keys_out": "image",
                },
                step("ScaleIntensityd", "image"),
            ],
            [
                step("Activationsd", "pred", sigmoid=True),
                step("AsDiscreted", "pred", threshold=0.5),
                step("scripts.my_transforms.MergeClassesd", "pred"),
                step("SaveImaged", "label"),
            ],
            cases.windows(),
        ),
        kind=Kind.SEGMENTATION,
        labels=("artery", "vein"),
        input=InputSpec(modalities=("CT",), spatial_dims=3, channels=2),
        seed=1,
    )
    phases = tuple(bundles.volume(seed=seed) for seed in (0, 1))
    predictor: Any = predictors.open(case.write(tmp_path / "bundle"), device=CPU)
    found = predictor.predict(Channels(volumes=phases), checkpoint=go_on)
    turned = predictor.predict(Channels(volumes=phases[::-1]), checkpoint=go_on)
    assert found.label_map.shape == phases[0].stored.shape
    assert (found.label_map != turned.label_map).any()


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_boxes_of_images_lie_in_their_rows_and_columns(scale: float) -> None:
    # x from 1 to 4 and y from 2 to 6 of a prepared image whose pixels are `scale` wide
    stated = Boxes(
        edges=np.array([[1.0, 2.0, 4.0, 6.0]]), scores=np.array([0.9]), numbers=np.array([1])
    )
    affine = np.diag([scale, scale, 1.0, 1.0])
    # MONAI's Resized keeps the borders of the image where they were
    affine[:2, 3] = (scale - 1) / 2
    prepared = MetaTensor(torch.zeros(1, 20, 20), torch.from_numpy(affine))
    labels = (Label(number=0, name="other"), Label(number=1, name="tumour"))
    (found,) = boxes.in_frame(stated, prepared, 3, (10, 12), labels)
    assert found.label == "tumour"
    assert found.index_box == pytest.approx((3, 2 * scale, 1 * scale, 4, 6 * scale, 4 * scale))
    assert found.centre is None
