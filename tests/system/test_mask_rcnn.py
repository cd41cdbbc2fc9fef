"""Mask R-CNN as a whole job: what its masks are in process, its SEG and its SR hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch

from pipeline import phantoms
from pipeline.models import bundle, networks, predictors
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.phantoms import PhantomParameters
from pipeline.results import Code, Prediction, Segment
from pipeline.results import Detection as Found
from pipeline.volume import Volume
from tests.pipeline.dicom.made_series import read_volume
from tests.pipeline.models.table.small import SMALL
from tests.pipeline.models.tiny import go_on
from tests.system.program import Program

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

HEAD: Final = PhantomParameters(shape=(6, 48, 40), spacing=(7.0, 4.5, 4.8), lesions=1)
NETWORK: Final = "torchvision.mask_rcnn"
ARGUMENTS: Final[dict[str, Any]] = {
    "spatial_dims": 2,
    "in_channels": 1,
    "num_classes": 2,
    **SMALL[NETWORK],
}
MASS: Final = Code(scheme="SCT", value="4147007", meaning="Mass")
ANALYSIS: Final = """
name: masses
version: "1"
title: Masses of a head, one by one
inputs:
  head: {kind: volume, where: {modality: MR}}
steps:
  - {name: masses, model: tiny-mask-rcnn, input: head}
outputs: [dicom-seg, dicom-sr]
"""


@dataclass(frozen=True)
class Scene:
    """What the program wrote, and what the model says of the same volume in this process."""

    program: Program
    volume: Volume
    expected: Prediction

    @property
    def job(self) -> dict[str, Any]:
        """The one job."""
        (job,) = self.program.jobs("masses")
        return job

    def written(self, modality: str) -> list[pydicom.Dataset]:
        """Return the objects of a modality that the job wrote."""
        folder = self.program.out / "studies" / self.job["study"] / self.job["job"]
        read = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
        return [one for one in read if one.Modality == modality]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("masses")
    phantoms.write_series(phantoms.head(HEAD), folder / "export")
    made = write_bundle(folder / "bundle")
    volume = read_volume(folder / "export")
    # as many threads as the worker has: others change logits in the seventh digit, and this head
    # makes thirty times that of it
    device = Device(threads=len(os.sched_getaffinity(0)))
    expected = predictors.open(made, device=device).predict(volume, checkpoint=go_on)
    program = Program(folder, folder / "export")
    program("models", "register", str(made.folder), "--promote", "--why", "test")
    program.run(ANALYSIS)
    return Scene(program=program, volume=volume, expected=expected)


def write_bundle(folder: Path) -> bundle.Bundle:
    """Write a Mask R-CNN that was never trained: it finds things, and always the same.

    What it finds fills its box, and scores are spread.
    """
    torch.manual_seed(4)
    network = networks.build(NETWORK, ARGUMENTS)
    heads: Any = network.roi_heads
    with torch.no_grad():
        heads.box_predictor.cls_score.weight.mul_(30.0)
        heads.mask_predictor.mask_fcn_logits.weight.zero_()
        heads.mask_predictor.mask_fcn_logits.bias.fill_(3.0)
    spec = ModelSpec(
        name="tiny-mask-rcnn",
        version="1",
        kind=Kind.SEGMENTATION,
        title="Tiny",
        input=InputSpec(modalities=("MR",), spatial_dims=2, size=(64, 64)),
        labels=(Label(number=1, name="mass", code=MASS, category=MASS),),
        network=NETWORK,
        network_arguments=ARGUMENTS,
        options={"instances": True, "score_threshold": 0.55, "minimum_voxels": 8},
    )
    return bundle.write(folder, spec, weights=network.state_dict(), card="# Test\n")


def test_the_segmentation_holds_each_mask_where_the_model_put_it(scene: Scene) -> None:
    assert scene.job["status"] == "succeeded"
    assert scene.expected.label_map is not None
    (written,) = scene.written("SEG")
    seg = hd.seg.Segmentation.from_dataset(written)
    ours = hd.Volume(
        array=np.zeros(scene.volume.stored.shape, np.uint8),
        affine=scene.volume.affine,
        coordinate_system="PATIENT",
    )
    laid = seg.get_volume(combine_segments=True).match_geometry(ours)
    assert np.array_equal(laid.array, scene.expected.label_map)
    named = [one.label for one in scene.expected.findings if isinstance(one, Segment)]
    assert [str(one.SegmentLabel) for one in written.SegmentSequence] == named
    assert len(named) > 1


def test_the_results_state_each_object_with_its_box_and_its_score(scene: Scene) -> None:
    boxes = [one for one in scene.expected.findings if isinstance(one, Found)]
    stated = [row for row in scene.job["results"] if row["kind"] == "detection"]
    assert [row["score"] for row in stated] == pytest.approx([one.score for one in boxes])
    assert len(scene.written("SR")) == 1
