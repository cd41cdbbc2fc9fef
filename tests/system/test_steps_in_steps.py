"""A mask that crops the next step's input, and a condition, through the whole program.

The phantoms know their answers; the chest of a real scanner shows that it holds there too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import phantoms
from pipeline.phantoms.head import DEFAULT as HEAD
from tests.data import shared
from tests.machine import write_studies
from tests.system import blobs
from tests.system.program import Program

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

#: the body of a chest in the box of its lungs, beside the body in the whole
CROPPED = """
name: cropped
version: "1"
title: The body around the lungs
inputs:
  ct: {kind: volume, where: {modality: CT, any_of: [{minimum_slices: 10}, {rows: 1}]}}
steps:
  - {name: near, model: threshold-body, input: ct, crop: {to: lungs, segments: lung, margin_mm: 5}}
  - {name: lungs, model: threshold-lung, input: ct}
  - {name: whole, model: threshold-body, input: ct}
outputs: [dicom-seg]
"""
#: conditions on the lungs of a real chest: one holds, one cannot
ASKED = """
name: asked
version: "1"
title: The body where there are lungs
inputs:
  ct: {kind: volume, where: {modality: CT, minimum_slices: 10}}
steps:
  - {name: lungs, model: threshold-lung, input: ct}
  - name: likely
    model: threshold-body
    input: ct
    when: {step: lungs, volume_ml: lung, above: 500}
  - name: impossible
    model: threshold-body
    input: ct
    when: {step: lungs, volume_ml: lung, above: 100000}
outputs: [dicom-seg]
"""
#: a classifier decides whether a step runs
DECIDED = """
name: decided
version: "1"
title: A second look where a lesion is likely
inputs:
  mr: {kind: volume, where: {modality: MR, minimum_slices: 8}}
steps:
  - {name: first, model: demo-mr-lesion-classification, input: mr}
  - name: second
    model: demo-mr-lesion-classification
    input: mr
    when: {step: first, score: lesion, minimum: 0.5}
  - {name: third, model: demo-mr-lesion-classification, input: mr, needs: [second]}
outputs: [dicom-sr]
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Both documents over a chest, a blob without lungs, a head without and one with lesions."""
    folder = tmp_path_factory.mktemp("steps")
    source = folder / "source"
    write_studies(source / "chest", 1)
    blobs.write(blobs.make(0), source / "blob", enhanced=False)
    for number, lesions in enumerate((0, 3)):
        phantom = phantoms.head(replace(HEAD, seed=9300 + number, lesions=lesions))
        phantoms.write_series(phantom, source / f"head-{number}", seed=9300 + number)
    made = Program(folder, source)
    made.run(CROPPED, DECIDED)
    return made


def steps_of(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in job["report"]["steps"]}


def voxels(mask: hd.Volume, grid: hd.Volume) -> NDArray[np.int64]:
    """Return the voxels of a mask as indices (n, 3) of another grid, by their place in mm."""
    way = np.linalg.inv(grid.affine) @ mask.affine
    index = np.argwhere(mask.array > 0) @ way[:3, :3].T + way[:3, 3]
    assert np.abs(index - index.round()).max() < 0.01
    return np.asarray(index.round().astype(np.int64))


def check_crop(program: Program, job: dict[str, Any]) -> None:
    """Hold the cropped mask to the lungs and to what it reports of its box."""
    (told,) = steps_of(job)["near"]["inputs"]
    masks, crop = program.masks(job), told["crop"]
    lungs, near = (voxels(masks[name], masks["whole"]) for name in ("lungs", "near"))
    assert len(lungs) > 0
    # the box by its first and last voxel in mm, on a grid whose slices may run the other way;
    # the source is axial: slices follow z, rows y and columns x
    counts = np.array(crop["box"][3:]) - crop["box"][:3]
    first, size = np.array(crop["first_mm"]), np.array(crop["size_mm"])
    last = first + (size - size / counts)[::-1]
    ends = np.linalg.inv(masks["whole"].affine) @ [*zip(first, last, strict=True), (1.0, 1.0)]
    start = ends[:3].min(axis=1).round().astype(np.int64)
    stop = ends[:3].max(axis=1).round().astype(np.int64) + 1
    assert (stop - start == counts).all()
    assert (near >= start).all()
    assert (near < stop).all()
    spread = np.ceil(5 / np.array(masks["whole"].spacing)).astype(np.int64)
    assert (start >= lungs.min(axis=0) - spread).all()
    assert (stop <= lungs.max(axis=0) + 1 + spread).all()
    # a body has its holes filled slice by slice, so the lungs are in it
    flat = np.ravel_multi_index(tuple((near - start).T), tuple(stop - start))
    inside = np.ravel_multi_index(tuple((lungs - start).T), tuple(stop - start))
    assert np.isin(inside, flat).mean() > 0.99


def test_a_mask_crops_the_input_of_the_next_step(program: Program) -> None:
    (job,) = (job for job in program.jobs("cropped") if steps_of(job)["near"]["ran"])
    check_crop(program, job)
    explained = program("explain", job["job"])
    first, last = steps_of(job)["near"]["inputs"][0]["crop"]["box"][::3]
    assert "cropped to lung of step lungs and 5 mm around it:" in explained
    assert f"slices {first} to {last - 1}, rows" in explained
    assert "holds  any_of: asked one alternative, is alternative 1" in explained


def test_what_has_no_lungs_skips_the_step_and_says_so(program: Program) -> None:
    (job,) = (job for job in program.jobs("cropped") if not steps_of(job)["near"]["ran"])
    assert job["status"] == "succeeded"
    assert {result["step"] for result in job["results"]} == {"lungs", "whole"}
    assert "skipped, the mask of step lungs is empty" in program("explain", job["job"])
    page = (program.out / "report.html").read_text()
    assert "Step near was skipped: the mask of step lungs is empty." in page


def test_a_classifier_decides_whether_a_step_runs(program: Program) -> None:
    ran = {}
    for job in program.jobs("decided"):
        steps, told = steps_of(job), program("explain", job["job"])
        decided = steps["second"]
        kept = (decided["inputs"] or decided["skipped"])[0]["when"]
        assert kept["holds"] is decided["ran"] is (kept["actual"] >= 0.5)
        assert steps["third"]["ran"] is decided["ran"]
        mark = "holds" if decided["ran"] else "FAILS"
        assert f"{mark}  score of lesion in step first: asked at least 0.5, is" in told
        assert decided["ran"] or "skipped, step second was skipped" in told
        ran[decided["ran"]] = job
    assert set(ran) == {True, False}
    assert len(ran[True]["results"]) == 3 * len(ran[False]["results"])


def test_a_dry_run_tells_clauses_crops_and_conditions(tmp_path: Path) -> None:
    write_studies(tmp_path / "source", 1)
    plan = Program(tmp_path, tmp_path / "source").run(CROPPED, options=("--dry-run",))
    assert "holds  any_of: asked one alternative, is alternative 1" in plan
    assert "no     rows: asked 1, is 32" in plan
    assert "step near: threshold-body on ct, after lungs" in plan
    assert "cropped to lung of step lungs and 5 mm around it, skipped where that is empty" in plan


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A crop and conditions over the chest of a real scanner."""
    made = Program(tmp_path_factory.mktemp("real"), shared("dicom", "ct_chest_lidc0314"))
    made.run(CROPPED, ASKED)
    return made


def test_a_chest_of_a_real_scanner_is_cropped_to_its_lungs(real: Program) -> None:
    (job,) = real.jobs("cropped")
    check_crop(real, job)
    assert "cropped to lung of step lungs" in real("explain", job["job"])


def test_what_is_found_in_a_real_chest_decides_which_steps_run(real: Program) -> None:
    (job,) = real.jobs("asked")
    assert job["status"] == "succeeded"
    (lungs,) = (one for one in job["results"] if one["step"] == "lungs")
    volume = lungs["value"]
    assert 500 < volume < 100_000
    assert {one["step"] for one in job["results"]} == {"lungs", "likely"}
    steps = steps_of(job)
    (ran,), (skipped,) = steps["likely"]["inputs"], steps["impossible"]["skipped"]
    assert (steps["likely"]["ran"], steps["impossible"]["ran"]) == (True, False)
    assert ran["when"]["holds"] is True
    assert ran["when"]["actual"] == pytest.approx(volume, rel=1e-3)
    assert skipped["when"]["holds"] is False
    found = f"volume in mL of lung in step lungs is {skipped['when']['actual']:g}"
    assert skipped["because"] == f"{found}, wanted above 100000"
    told = real("explain", job["job"])
    assert "holds  volume in mL of lung in step lungs: asked above 500, is" in told
    assert "FAILS  volume in mL of lung in step lungs: asked above 100000, is" in told
    assert f"skipped, {skipped['because']}" in told
