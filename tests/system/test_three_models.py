"""Three models over twenty studies by the whole program: loaded once by each worker process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch

from pipeline.models import bundle, networks
from pipeline.models.spec import InputSpec, Kind, ModelSpec
from records import database
from tests.machine import write_studies
from worker.catalogue import register_analysis, register_bundle, register_shipped
from worker.queue.settings import Settings
from worker.services import make_services

pytestmark = pytest.mark.system

STUDIES = 20
UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "channels": [4, 8],
    "strides": [2],
}
ANALYSIS = """
name: three-models
version: "1"
title: Nodules twice, and the volume restored
inputs:
  ct: {kind: volume, where: {modality: CT}}
steps:
  - {name: nodules, model: demo-ct-nodule-segmentation, input: ct}
  - {name: boxes, model: demo-ct-nodule-detection, input: ct}
  - {name: restored, model: test-nothing-to-restore, input: ct}
outputs: [dicom-derived]
"""


def nothing_to_restore(folder: Path) -> Path:
    """Write a model whose network adds nothing to its input."""
    weights = networks.build("UNet", UNET).state_dict()
    spec = ModelSpec(
        name="test-nothing-to-restore",
        version="1",
        kind=Kind.RESTORATION,
        title="Left as it was",
        input=InputSpec(
            modalities=("CT",),
            spatial_dims=3,
            window=(-1100.0, 3100.0),
            orientation="RAS",
            size=(16, 16, 16),
        ),
        labels=(),
        network="UNet",
        network_arguments=UNET,
        options={"residual": True},
    )
    nothing = {name: torch.zeros_like(value) for name, value in weights.items()}
    return bundle.write(folder / "restoring", spec, weights=nothing, card="# Test\n").folder


def run(folder: Path) -> list[dict[str, Any]]:
    """Run over twenty studies with three models; return what every job reports."""
    write_studies(folder / "export", STUDIES)
    settings = Settings(home=folder / "home")
    database.upgrade(settings.database)
    services = make_services(settings)
    register_shipped(services)
    register_bundle(services, nothing_to_restore(folder))
    (folder / "three.yaml").write_text(ANALYSIS)
    register_analysis(services, folder / "three.yaml")
    command = [str(Path(sys.executable).parent / "nightshift"), "run", str(folder / "export")]
    command += ["--out", str(folder / "out"), "--analysis", "three-models"]
    environment = os.environ | {"NIGHTSHIFT_HOME": str(folder / "home")}
    subprocess.run(command, env=environment, check=True, timeout=250, capture_output=True)
    paths = sorted((folder / "out").glob("studies/*/*/job.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_every_model_is_loaded_once_by_each_process_and_what_it_restores_is_in_place(
    tmp_path: Path,
) -> None:
    jobs = run(tmp_path)
    assert [job["status"] for job in jobs] == ["succeeded"] * STUDIES
    loaded = defaultdict(list)
    for job in jobs:
        report = job["report"]
        loaded[report["worker"]] += report["models_loaded"]
    assert all(sorted(steps) == ["boxes", "nodules", "restored"] for steps in loaded.values())
    for job in sorted(jobs, key=lambda job: str(job["started"]))[STUDIES // 2 :]:
        assert job["report"]["seconds"]["model_load"] < 0.5
    for study in sorted((tmp_path / "out" / "studies").iterdir())[:3]:
        _compare(study, tmp_path / "export")


def _compare(study: Path, export: Path) -> None:
    """Hold the slices of a derived series against those it was made from."""
    derived = [pydicom.dcmread(path) for path in study.glob("*/restored-*.dcm")]
    files = (pydicom.dcmread(path) for path in export.rglob("*") if path.is_file())
    source = {
        tuple(one.ImagePositionPatient): one for one in files if one.StudyInstanceUID == study.name
    }
    assert len(derived) == len(source) > 0
    for one in derived:
        before = source[tuple(one.ImagePositionPatient)]
        assert one.ImageOrientationPatient == before.ImageOrientationPatient
        assert one.SOPClassUID == before.SOPClassUID
        assert one.SeriesInstanceUID != before.SeriesInstanceUID
        np.testing.assert_allclose(_values(one), _values(before), atol=0.51)


def _values(one: pydicom.Dataset) -> Any:
    return one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
