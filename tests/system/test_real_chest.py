"""A real chest CT: the lung mask lies on the lungs, in the patient and not only in an array."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.results import Segment
from pipeline.volume import Volume
from tests.data import shared

pytestmark = pytest.mark.system

SCRIPT = Path(sys.executable).parent / "nightshift"
MODEL = Path(__file__).parents[2] / "models" / "threshold-lung"


def _sorted_by_hand(folder: Path) -> Volume:
    """Stack the slices by z with nothing of ours: an axial series of one spacing."""
    slices = sorted(
        (pydicom.dcmread(path) for path in (folder / "series").iterdir()),
        key=lambda dataset: float(dataset.ImagePositionPatient[2]),
    )
    first, last = slices[0], slices[-1]
    step = (np.array(last.ImagePositionPatient) - np.array(first.ImagePositionPatient)) / (
        len(slices) - 1
    )
    affine = np.eye(4)
    affine[:3, 0] = step.astype(float)
    affine[:3, 1] = np.array(first.ImageOrientationPatient[3:], float) * first.PixelSpacing[0]
    affine[:3, 2] = np.array(first.ImageOrientationPatient[:3], float) * first.PixelSpacing[1]
    affine[:3, 3] = np.array(first.ImagePositionPatient, float)
    return Volume(
        stored=np.stack([dataset.pixel_array for dataset in slices]),
        affine=affine,
        slope=float(first.RescaleSlope),
        intercept=float(first.RescaleIntercept),
        unit="HU",
    )


def _plain_lungs(volume: Volume) -> NDArray[np.bool_]:
    """Return air that no slice connects to its border, the two largest pieces of it."""
    air = volume.values() < -350
    inside = np.stack([ndimage.binary_fill_holes(~one) & one for one in air])
    labels, _ = ndimage.label(inside)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(np.isin(labels, np.argsort(sizes)[-2:]))


def _centroid(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.argwhere(mask).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3])


def test_the_lung_mask_of_a_real_ct_lies_on_the_lungs(tmp_path: Path) -> None:
    folder = shared("dicom", "ct_chest_lidc0314")
    environment = os.environ | {
        "NIGHTSHIFT_HOME": str(tmp_path / "home"),
        "NIGHTSHIFT_INFERENCE_PROCESSES": "1",
    }
    words = ["run", str(folder), "--out", str(tmp_path / "out"), "--analysis", "ct-lungs"]
    subprocess.run([str(SCRIPT), *words], env=environment, check=True, timeout=240)
    (path,) = (tmp_path / "out" / "studies").glob("*/*/lungs.dcm")
    written = hd.seg.segread(path).get_volume(combine_segments=True)
    mask = written.array == 1

    by_hand = _sorted_by_hand(folder)
    predictor = predictors.open(bundle.load(MODEL), device=Device("cpu", threads=1))
    finding = predictor.predict(by_hand, checkpoint=lambda: None).findings[0]
    assert isinstance(finding, Segment)
    assert finding.centroid is not None
    volume_ml = mask.sum() * abs(np.linalg.det(written.affine[:3, :3])) / 1000
    assert volume_ml == pytest.approx(finding.volume_ml, rel=1e-5)
    assert _centroid(mask, written.affine) == pytest.approx(np.array(finding.centroid), abs=1e-2)

    # and a mask of a few lines of SciPy, which knows nothing of our rules, says nearly the same
    plain = _plain_lungs(by_hand)
    plain_ml = plain.sum() * by_hand.voxel_volume_ml
    assert volume_ml == pytest.approx(plain_ml, rel=0.05)
    assert _centroid(mask, written.affine) == pytest.approx(
        _centroid(plain, by_hand.affine), abs=3.0
    )
