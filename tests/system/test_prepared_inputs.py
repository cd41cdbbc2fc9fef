"""Inputs made ready by image steps, and a classical model, through the whole program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data import shared
from tests.machine import write_studies
from tests.system.program import Program

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

#: the body of a chest as it was read, moved, coarser, and smoothed
PREPARED = """
name: prepared
version: "1"
title: The body of a chest, made ready in several ways
inputs:
  ct: {kind: volume, where: {modality: CT, minimum_slices: 10}}
prepare:
  moved: {of: ct, steps: [{pad: {margin_mm: 12, value: -1000}}, {orient: {to: RAS}}]}
  coarse: {of: ct, steps: [{resample: {spacing_mm: 3}}]}
  smooth: {of: ct, steps: [{median: {radius_voxels: 1}}, {window: {level: 0, width: 2000}}]}
steps:
  - {name: plain, model: threshold-body, input: ct}
  - {name: moved, model: threshold-body, input: moved}
  - {name: coarse, model: threshold-body, input: coarse}
  - {name: smooth, model: threshold-body, input: smooth}
  - {name: near, model: threshold-body, input: moved, crop: {to: lungs, margin_mm: 5}}
  - {name: lungs, model: threshold-lung, input: ct}
  - {name: bone, model: classical-ct-bone, input: smooth}
outputs: [dicom-seg]
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The document over a chest of phantoms."""
    folder = tmp_path_factory.mktemp("prepared")
    write_studies(folder / "source", 1)
    made = Program(folder, folder / "source")
    made.run(PREPARED)
    return made


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The document, and the shipped example, over the chest of a real scanner."""
    made = Program(tmp_path_factory.mktemp("real"), shared("dicom", "ct_chest_lidc0314"))
    made.run(PREPARED, options=("--analysis", "ct-bone"))
    return made


def check(program: Program) -> dict[str, Any]:
    """Hold every mask to the one of the input as it was read; return the job."""
    (job,) = program.jobs("prepared")
    assert job["status"] == "succeeded"
    volumes = program.masks(job)
    grid = volumes["plain"]
    shares: dict[str, float] = {}
    for name in ("moved", "coarse", "smooth"):
        mask = laid(volumes[name], grid)
        shares[name] = 2 * (mask & (grid.array > 0)).sum() / (mask.sum() + (grid.array > 0).sum())
    assert shares["moved"] == 1
    assert shares["coarse"] > 0.95
    assert shares["smooth"] > 0.98
    found = {result["step"]: result for result in job["results"]}
    for column in ("value", "label"):
        assert found["moved"][column] == found["plain"][column]
    near, lungs = laid(volumes["near"], grid), laid(volumes["lungs"], grid)
    assert lungs.any()
    assert (lungs & near).sum() > 0.99 * lungs.sum()
    assert near.sum() < (grid.array > 0).sum()
    return job


def laid(mask: Any, grid: Any) -> NDArray[np.bool_]:
    """Return a mask on another grid, by the places of its voxels in mm; it has to lie on it."""
    way = np.linalg.inv(grid.affine) @ mask.affine
    index = np.argwhere(mask.array > 0) @ way[:3, :3].T + way[:3, 3]
    assert np.abs(index - index.round()).max() < 0.01
    made = np.zeros(grid.array.shape, np.bool_)
    made[tuple(index.round().astype(np.int64).T)] = True
    return made


def test_answers_of_prepared_inputs_lie_on_the_series(program: Program) -> None:
    job = check(program)
    steps = {step["step"]: step["inputs"][0] for step in job["report"]["steps"]}
    assert steps["plain"]["prepared"] == []
    (moved,), (near,) = steps["moved"]["prepared"], steps["near"]["prepared"]
    assert [one["step"] for one in moved["steps"]] == ["pad", "orient"]
    assert near == moved
    (coarse,) = steps["coarse"]["prepared"]
    assert coarse["spacing_mm"] == [3, 3, 3]
    bone = steps["bone"]["options"]["steps"]
    assert [one["step"] for one in bone] == ["median", "grow", "close", "fill_holes"]
    assert bone[1]["found"]["regions"] >= 1
    (result,) = (one for one in job["results"] if one["step"] == "bone")
    assert result["label"] == "bone"
    assert result["value"] > 1


def test_explain_tells_what_was_made_of_an_input(program: Program) -> None:
    (job,) = program.jobs("prepared")
    told = program("explain", job["job"])
    assert "input coarse: made of ct by resample (spacing_mm 3, interpolation linear)" in told
    assert "prepared as smooth, " in told
    assert "median: radius_voxels 1, slicewise" in told


def test_a_dry_run_tells_what_will_be_made_of_an_input(tmp_path: Path) -> None:
    write_studies(tmp_path / "source", 1)
    plan = Program(tmp_path, tmp_path / "source").run(PREPARED, options=("--dry-run",))
    assert "input smooth: made of ct by median (radius_voxels 1, slicewise False), then" in plan
    assert "step bone: classical-ct-bone on smooth" in plan


def test_a_chest_of_a_real_scanner_is_prepared_and_answered_for(real: Program) -> None:
    job = check(real)
    (bone,) = (one for one in job["results"] if one["step"] == "bone")
    (example,) = real.jobs("ct-bone")
    (again,) = example["results"]
    assert (again["label"], again["kind"]) == ("bone", "segment")
    # a bilateral filter leaves about as much as a median
    assert 50 < again["value"] == pytest.approx(bone["value"], rel=0.3)
