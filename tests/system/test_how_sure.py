"""How sure models are and where they saw what they say, through the whole program."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from safetensors.torch import load_file

import models as shipped
from pipeline import phantoms
from pipeline.models import bundle, networks
from pipeline.models.spec import Calibration, InputSpec, Kind, Label, ModelSpec
from pipeline.phantoms.head import DEFAULT as HEAD
from tests.pipeline.dicom.made_series import read_volume
from tests.system.program import Program

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ANALYSIS: Final = """
name: how-sure
version: "1"
title: How sure, and why
inputs:
  mr: {kind: volume, where: {modality: MR, minimum_slices: 8}}
steps:
  - name: kind
    model: sure-classification
    input: mr
    uncertainty:
      monte_carlo_dropout: {samples: 6, seed: 5}
      temperature: stored
      conformal: {coverage: 0.8}
    explain:
      - {method: grad-cam, label: lesion}
      - {method: occlusion}
  - name: parts
    model: sure-segmentation
    input: mr
    uncertainty: {monte_carlo_dropout: {samples: 3}, flips: [2]}
  - name: again
    model: sure-segmentation
    input: mr
    uncertainty: {monte_carlo_dropout: {samples: 3}, flips: [2]}
  - name: sure
    model: sure-classification
    input: mr
    when: {step: kind, value: predictive entropy, maximum: 1}
outputs: [dicom-sr, dicom-parametric-map, overlay]
"""
UNET: Final[dict[str, Any]] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "dropout": 0.3,
}


def write_classification(folder: Path) -> Path:
    """Write the shipped demonstration as a network with dropout, and with a calibration."""
    (root,) = shipped.__path__
    demo = bundle.load(Path(root) / "demo-mr-lesion-classification")
    spec = replace(
        demo.spec,
        name="sure-classification",
        network_arguments={**demo.spec.network_arguments, "dropout_prob": 0.3},
        calibration=Calibration(temperature=1.7, scores=(0.05, 0.1, 0.3, 0.6)),
    )
    weights = load_file(demo.folder / bundle.WEIGHTS)
    return bundle.write(folder, spec, weights=weights, card="# Sure\n").folder


def write_segmentation(folder: Path) -> Path:
    torch.manual_seed(3)
    spec = ModelSpec(
        name="sure-segmentation",
        version="1",
        kind=Kind.SEGMENTATION,
        title="Parts",
        input=InputSpec(modalities=("MR",), spatial_dims=3, size=(16, 64, 64)),
        labels=(Label(number=1, name="part"),),
        network="UNet",
        network_arguments=UNET,
    )
    weights = networks.build("UNet", UNET).state_dict()
    return bundle.write(folder, spec, weights=weights, card="# Parts\n").folder


class Scene:
    """One head, two models, and what became of it."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        phantom = phantoms.head(replace(HEAD, seed=9301, lesions=3))
        phantoms.write_series(phantom, self.source, seed=9301)
        self.program = Program(folder, self.source)
        for path in (write_classification(folder / "c"), write_segmentation(folder / "s")):
            self.program("models", "register", str(path), "--promote", "--why", "test")
        self.document = folder / "0.yaml"
        self.program.run(ANALYSIS)
        (self.job,) = self.program.jobs("how-sure")
        self.folder = self.program.out / "studies" / self.job["study"] / self.job["job"]

    def numbers(self, step: str) -> dict[str, tuple[float, str]]:
        """Return the measurements of a step as results.csv has them."""
        with (self.program.out / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        # rows of a job are in the order of its results
        return {
            row["label"]: (float(row["value"]), row["unit"])
            for row, one in zip(rows, self.job["results"], strict=True)
            if one["step"] == step and row["kind"] == "measurement"
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("sure"))


def test_the_document_fits_its_models(scene: Scene) -> None:
    assert "is sound" in scene.program("analyses", "check", str(scene.document))
    wrong = scene.document.with_name("wrong.yaml")
    wrong.write_text(ANALYSIS.replace("label: lesion", "label: lesion, layer: attic"))
    told = scene.program("analyses", "check", str(wrong), status=1)
    assert "step kind: model sure-classification has no layer attic" in told


def test_numbers_stand_in_the_tables(scene: Scene) -> None:
    assert scene.job["status"] == "succeeded"
    kind = scene.numbers("kind")
    assert kind["predictive entropy"][1] == kind["mutual information"][1] == "bit"
    assert 0 < kind["mutual information"][0] < kind["predictive entropy"][0] <= 1
    assert 0 < kind["standard deviation of lesion"][0] < 0.5
    assert {kind[f"prediction set has {label}"][0] for label in ("lesion", "no lesion")} <= {0, 1}
    value, unit = scene.numbers("parts")["mean entropy of part"]
    assert 0 < value <= 1
    assert unit == "bit"


def test_a_condition_can_ask_how_sure_a_step_was(scene: Scene) -> None:
    (ran,) = (step for step in scene.job["report"]["steps"] if step["step"] == "sure")
    assert ran["ran"]
    asked = ran["inputs"][0]["when"]
    measured = scene.numbers("kind")["predictive entropy"][0]
    assert asked["actual"] == pytest.approx(measured, abs=1e-4)


def test_the_report_of_structured_numbers_has_them_too(scene: Scene) -> None:
    report = pydicom.dcmread(scene.folder / "kind-report.dcm")
    text = report.to_json()
    assert "predictive entropy" in text
    assert "standard deviation of lesion" in text


def test_maps_are_parametric_maps_that_lie_where_the_source_lies(scene: Scene) -> None:
    volume = read_volume(scene.source)
    names = sorted(path.name for path in scene.folder.glob("*-map-*.dcm"))
    assert names == [
        f"{step}-map-{number}.dcm" for step in ("again", "kind", "parts") for number in (1, 2)
    ]
    ours = hd.Volume(
        array=np.zeros(volume.stored.shape, np.float32),
        affine=volume.affine,
        coordinate_system="PATIENT",
    )
    for name in names:
        found = hd.imread(scene.folder / name).get_volume()
        assert found.match_geometry(ours).affine == pytest.approx(volume.affine, abs=1e-6)
        assert found.array.max() > 0
        assert np.isfinite(found.array).all()
    entropy = hd.imread(scene.folder / "parts-map-1.dcm").get_volume().array
    assert 0 <= entropy.min() < entropy.max() <= 1 + 1e-6


def test_maps_are_pictures_of_the_report(scene: Scene) -> None:
    pictures = sorted(path.name for path in scene.folder.glob("overlay-kind.*webp"))
    assert pictures == [
        "overlay-kind.1-grad-cam-of-lesion.webp",
        next(name for name in pictures if name.startswith("overlay-kind.2-occlusion-of-")),
        "overlay-kind.webp",
    ]
    exact = sorted(path.stem for path in scene.folder.glob("overlay-kind.*png"))
    assert exact == [name.removesuffix(".webp") for name in pictures[:2]]
    page = (scene.program.out / "report.html").read_text()
    for title in ("kind.1-grad-cam-of-lesion", "parts.1-predictive-entropy"):
        assert f'data-title="{title}"' in page
    assert "predictive entropy" in page


def test_the_run_report_says_what_was_asked(scene: Scene) -> None:
    told = scene.program("explain", scene.job["job"])
    assert "asks why, by grad-cam of lesion" in told
    steps = {step["step"]: step for step in scene.job["report"]["steps"]}
    options = steps["kind"]["inputs"][0]["options"]
    assert options["uncertainty"]["monte_carlo_dropout"] == {"samples": 6, "seed": 5}
    assert [one["method"] for one in options["explain"]] == ["grad-cam", "occlusion"]


def test_the_same_question_has_the_same_answer_to_the_byte(scene: Scene) -> None:
    assert scene.numbers("parts") == scene.numbers("again")
    for number in (1, 2):
        first, again = (
            pydicom.dcmread(scene.folder / f"{step}-map-{number}.dcm").FloatPixelData
            for step in ("parts", "again")
        )
        assert first == again
    for what in ("", ".1-predictive-entropy", ".2-standard-deviation"):
        first, again = (
            (scene.folder / f"overlay-{step}{what}.webp").read_bytes()
            for step in ("parts", "again")
        )
        assert first == again
