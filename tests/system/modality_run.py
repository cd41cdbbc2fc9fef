"""One run of the whole program over the export of every modality, and what it left."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from fcntl import LOCK_EX, flock
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from safetensors.torch import load_file

import models as shipped
from pipeline.models import bundle
from pipeline.volume import Image, Volume
from tests.system import modalities
from tests.system.modalities import Study
from tests.system.program import Program

#: what a user gets who names none
BY_DEFAULT: Final = (
    *("ct-lungs", "ct-nodules-demo", "mr-head", "pt-uptake"),
    *("image-lesion", "photo-lesion", "mg-breast", "sm-tissue"),
)
#: each connected part of an outline as an object of its own
OBJECTS: Final = """
name: objects
version: "1"
title: Lesions of loops, one by one
inputs:
  loop: {kind: image, each: true, where: {modality: US, colour: false, minimum_frames: 2}}
steps:
  - {name: objects, model: test-objects, input: loop}
outputs: [dicom-seg, dicom-sr]
"""


@dataclass(frozen=True)
class Ran:
    """One job: its results and the objects it wrote."""

    job: dict[str, Any]
    results: list[dict[str, Any]]
    objects: dict[str, Dataset]
    study: Study

    def found(self, label: str, step: str | None = None) -> dict[str, Any]:
        """Return the one result with a label."""
        (one,) = (
            row for row in self.results if row["label"] == label and step in (None, row["step"])
        )
        return one

    def seg(self, name: str) -> hd.seg.Segmentation:
        """Return a segmentation, read by highdicom."""
        return hd.seg.Segmentation.from_dataset(self.objects[f"{name}.dcm"])


@dataclass(frozen=True)
class Scene:
    """The export and what the program made of it."""

    out: Path
    studies: dict[str, Study]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Every result."""
        made: list[dict[str, Any]] = json.loads((self.out / "results.json").read_text())
        return made

    def study(self, name: str) -> Study:
        """Return a study, or skip the test where its files are not at hand."""
        if name not in self.studies:
            pytest.skip(f"no files of {name}: see tests/data.py and the pydicom-data package")
        return self.studies[name]

    def jobs(self, name: str) -> dict[str, Ran]:
        """Return the jobs of a study by analysis."""
        study = self.study(name)
        return {
            ran.job["analysis"]["name"]: ran
            for path in self.out.glob(f"studies/{study.study_instance_uid}/*/job.json")
            for ran in [self._ran(path, study)]
        }

    def _ran(self, path: Path, study: Study) -> Ran:
        job = json.loads(path.read_text())
        return Ran(
            job=job,
            results=[row for row in self.rows if row["job"] == job["job"]],
            objects={one.name: pydicom.dcmread(one) for one in path.parent.glob("*.dcm")},
            study=study,
        )


def run_once(root: Path) -> Scene:
    """Return the one run below a folder; whoever comes first makes it, the others wait."""
    folder = root / "modalities"
    with (root / "modalities.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        kept = folder / "studies.json"
        if not kept.exists():
            uids = _run(folder)
            kept.write_text(json.dumps(uids))
        made = json.loads(kept.read_text())
    studies = {
        name: Study(folder=folder / "export" / name, study_instance_uid=uid)
        for name, uid in made.items()
    }
    return Scene(out=folder / "out", studies=studies)


def _run(folder: Path) -> dict[str, str]:
    studies = modalities.write_all(folder / "export")
    program = Program(folder, folder / "export")
    (root,) = shipped.__path__
    outlines = bundle.load(Path(root) / "demo-image-lesion-segmentation")
    spec = replace(outlines.spec, name="test-objects", options={"instances": True})
    weights = load_file(outlines.folder / bundle.WEIGHTS)
    made = bundle.write(folder / "objects", spec, weights=weights, card="# Objects\n").folder
    program("models", "register", str(made), "--promote", "--why", "test")
    options = tuple(word for name in BY_DEFAULT for word in ("--analysis", name))
    program.run(OBJECTS, options=options)
    return {name: study.study_instance_uid for name, study in studies.items()}


def dice(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    return float(2 * (truth & mask).sum() / (truth.sum() + mask.sum()))


def on_volume(seg: hd.seg.Segmentation, volume: Volume) -> NDArray[np.bool_]:
    """Return a mask on a volume's grid, laid there by nothing but its own geometry."""
    ours = hd.Volume(
        array=np.zeros(volume.stored.shape, np.uint8),
        affine=volume.affine,
        coordinate_system="PATIENT",
    )
    laid = seg.get_volume(combine_segments=True).match_geometry(ours)
    return np.asarray(laid.array > 0)


def on_frames(seg: hd.seg.Segmentation, image: Image) -> NDArray[np.bool_]:
    """Return a mask on the frames of an image, by the references of its own frames."""
    mask = np.zeros(image.pixels.shape[:3], np.bool_)
    for group, pixels in zip(
        seg.PerFrameFunctionalGroupsSequence, np.atleast_3d(seg.pixel_array.T).T, strict=True
    ):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        mask[source.get("ReferencedFrameNumber", 1) - 1] |= pixels > 0
    return mask
