"""Our path for one study, in one process: read, predict, write the label map."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench import ct_export
from pipeline.dicom import reading
from pipeline.models import autotune, bundle, predictors
from pipeline.models.devices import Device
from pipeline.models.tuned import Cache, key_of
from pipeline.volume import Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Product:
    """The parts that a worker uses, one after the other."""

    def __init__(
        self,
        folder: Path,
        out: Path,
        *,
        threads: int,
        device: str = "cpu",
        tuned: Path | None = None,
    ) -> None:
        """Load the bundle in ``folder``; with ``tuned``, run it as measured and kept there."""
        out.mkdir(parents=True, exist_ok=True)
        cache = None if tuned is None else Cache(tuned)
        place, loaded = Device(device, threads=threads, tuned=cache), bundle.load(folder)
        if cache is not None and cache.find(key_of(loaded.spec, place)) is None:
            autotune.tune_bundle(loaded, place, cache)
        self.predictor = predictors.open(loaded, device=place)
        self.out = out

    def run(self, study: Path) -> dict[str, Any]:
        """Analyse the study in a folder; return where its labels are and seconds by stage."""
        began = time.perf_counter()
        volume = read(study)
        stages = {"read": time.perf_counter() - began}
        prediction = self.predictor.predict(volume, checkpoint=lambda: None)
        stages |= prediction.seconds
        saving = time.perf_counter()
        path = self.out / f"{study.name}.nii.gz"
        # in the order that NIfTI stores, first axis fastest; nibabel would copy it voxel by voxel
        labels, affine = np.transpose(prediction.label_map), volume.affine[:, [2, 1, 0, 3]]
        image = nib.Nifti1Image(labels, _LPS_TO_RAS @ affine)
        path.write_bytes(gzip.compress(image.to_bytes(), 1))
        ended = time.perf_counter()
        stages["write"] = ended - saving
        return {
            "labels": str(path),
            "stages": stages,
            "seconds": ended - began,
            "options": dict(prediction.options),
        }


def read(study: Path) -> Volume:
    """Read the study in a folder, in a child process as a worker does."""
    volume = reading.read(_series(study))
    if not isinstance(volume, Volume):
        raise TypeError("the study was not read as a volume")
    return volume


def _series(study: Path) -> reading.SeriesFiles:
    import pydicom

    files = ct_export.dicom_files(study)
    header = pydicom.dcmread(files[0], stop_before_pixels=True)
    return reading.SeriesFiles(
        source=str(study),
        names=tuple(str(file.relative_to(study)) for file in files),
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
    )
