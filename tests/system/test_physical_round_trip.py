"""The whole program on random grids: what it writes lies where the blob is, to the voxel.

The model is an identity: everything denser than air is its mask. The objects are read by what
3D Slicer reads them with (dcmqi), not by anything that wrote them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name

from tests.system import blobs
from tests.system.blobs import Blob

COUNT = 216
#: every sixth study is one file of frames in random order
ENHANCED_EVERY = 6
BIN = Path(sys.executable).parent
READER = BIN / "segimage2itkimage"
SR_READER = BIN / "tid1500reader"
#: SNOMED CT: Volume
VOLUME = "118565006"
ANALYSIS = """
name: blob
version: "1"
title: Everything denser than air
inputs:
  ct: {kind: volume, where: {modality: CT}}
steps:
  - {name: body, model: threshold-body, input: ct}
outputs: [dicom-seg, dicom-sr]
"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not READER.exists(), reason="dcmqi is not installed"),
]


def _run(made: dict[str, Blob], folder: Path) -> Path:
    """Run over all blobs and return what it leaves."""
    for number, blob in enumerate(made.values()):
        is_enhanced = number % ENHANCED_EVERY == ENHANCED_EVERY - 1
        blobs.write(blob, folder / "export" / f"{number:03}", enhanced=is_enhanced)
    (folder / "blob.yaml").write_text(ANALYSIS)
    environment = os.environ | {"NIGHTSHIFT_HOME": str(folder / "home")}
    for words in (
        ["analyses", "register", str(folder / "blob.yaml")],
        ["run", str(folder / "export"), "--out", str(folder / "out"), "--analysis", "blob"],
    ):
        command = [str(BIN / "nightshift"), *words]
        subprocess.run(command, env=environment, check=True, timeout=500, capture_output=True)
    return folder / "out"


def test_what_is_written_lies_where_the_blobs_are(tmp_path: Path) -> None:
    made = {blob.study: blob for blob in map(blobs.make, range(COUNT))}
    out = _run(made, tmp_path)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["jobs"] == {"succeeded": COUNT, "rejected": 0, "failed": 0, "canceled": 0}
    _check_masks(out, made, tmp_path)
    _check_reports(out, made, tmp_path)
    shutil.rmtree(tmp_path)


def _check_masks(out: Path, made: dict[str, Blob], folder: Path) -> None:
    def misplaced(blob: Blob) -> str | None:
        (path,) = (out / "studies" / blob.study).glob("*/body.dcm")
        target = folder / blob.study
        target.mkdir()
        words = ["--inputDICOM", str(path), "--outputDirectory", str(target), "-t", "nrrd"]
        subprocess.run([str(READER), *words], check=True, capture_output=True, timeout=60)
        return _fault(blob, sitk.ReadImage(str(target / "1.nrrd")))

    with ThreadPoolExecutor(2) as pool:
        faults = dict(zip(made, pool.map(misplaced, made.values()), strict=True))
    assert {study: fault for study, fault in faults.items() if fault} == {}


def _fault(blob: Blob, image: sitk.Image) -> str | None:
    """Say what is wrong with the place or the size of a mask, None where nothing is."""
    array = sitk.GetArrayFromImage(image) > 0
    index = np.argwhere(array)[:, ::-1].mean(axis=0)  # ITK counts (column, row, slice)
    centroid = np.array(image.TransformContinuousIndexToPhysicalPoint(index.tolist()))
    volume = float(array.sum() * np.prod(image.GetSpacing()))
    directions = blob.affine[:3, :3] / blob.spacing
    for place in (blob.voxel_centroid, blob.centre):
        off = np.abs(directions.T @ (centroid - place)) / blob.spacing
        if off.max() > 0.5:
            return f"{off.round(2)} voxels off"
    least, most = (4 / 3 * np.pi * np.prod(blob.radii + k * blob.spacing) for k in (-1, 1))
    if not least <= volume <= most or abs(volume / blob.voxel_volume - 1) > 1e-3:
        return f"{volume:.0f} mm3 instead of {blob.voxel_volume:.0f}"
    return None


def _check_reports(out: Path, made: dict[str, Blob], folder: Path) -> None:
    """Check that reports measure the same and point to the masks."""

    def wrong(blob: Blob) -> str | None:
        (path,) = (out / "studies" / blob.study).glob("*/body-report.dcm")
        target = folder / f"{blob.study}.json"
        words = ["--inputDICOM", str(path), "--outputMetadata", str(target)]
        subprocess.run([str(SR_READER), *words], check=True, capture_output=True, timeout=60)
        (group,) = json.loads(target.read_text())["Measurements"]
        (seg,) = (out / "studies" / blob.study).glob("*/body.dcm")
        segment = (group["segmentationSOPInstanceUID"], group["ReferencedSegment"])
        if segment != (_sop_instance_uid(seg), 1):
            return "it points to another segment"
        said = {
            item["quantity"]["CodeValue"]: float(item["value"])
            for item in group["measurementItems"]
        }
        centre = np.array([said[f"CENTRE-{axis}"] for axis in "XYZ"])
        off = np.abs(blob.affine[:3, :3].T @ (centre - blob.centre)) / blob.spacing**2
        if off.max() > 0.5:
            return f"{off.round(2)} voxels off"
        volume_ml = said[VOLUME]
        is_equal = abs(volume_ml * 1000 / blob.voxel_volume - 1) < 1e-3
        return None if is_equal else f"{volume_ml:.3f} mL instead of {blob.voxel_volume / 1000:.3f}"

    with ThreadPoolExecutor(2) as pool:
        faults = dict(zip(made, pool.map(wrong, made.values()), strict=True))
    assert {study: fault for study, fault in faults.items() if fault} == {}


def _sop_instance_uid(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
