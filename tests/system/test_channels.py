"""Four series of a study as the channels of one model, through the whole program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from monai.networks.nets.unet import UNet
from numpy.typing import NDArray

from pipeline import phantoms
from pipeline.aligning import aligned
from pipeline.models import predictors
from pipeline.models.devices import Device
from pipeline.models.intake.taking import take_in
from pipeline.models.predictor import TakesChannels
from pipeline.phantoms import PhantomParameters, Weighting, Written
from pipeline.policies import ChannelGrid
from pipeline.volume import Volume
from tests.pipeline.dicom.made_series import read_volume
from tests.pipeline.models.program.bundles import configuration, step
from tests.pipeline.models.program.cases import LOAD, invert, unet, windows
from tests.system.program import Program

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

HEAD: Final = PhantomParameters(
    shape=(16, 48, 40), spacing=(7.0, 4.5, 4.8), lesions=2, radius=(9.0, 14.0)
)
#: as scanners call them
DESCRIPTIONS: Final = {
    Weighting.T1C: "t1 mpr tra Gd",
    Weighting.T1: "t1 mpr tra",
    Weighting.T2: "t2 tse tra",
    Weighting.FLAIR: "t2 FLAIR tra",
}
ORDER: Final = tuple(DESCRIPTIONS)
ANALYSIS: Final = """
name: tumour
version: "1"
title: Parts of a tumour from four series of a head
inputs:
  flair: {kind: volume, where: {modality: MR, description_contains: flair}}
  t1: {kind: volume, where: {modality: MR, description_matches: '^t1 mpr \\w+$'}}
  t1c: {kind: volume, where: {modality: MR, description_matches: 't1.*\\b(gd|ce)\\b'}}
  t2: {kind: volume, where: {modality: MR, description_matches: 't2', description_excludes: flair}}
steps:
  - {name: tumour, model: tiny-tumour, input: [t1c, t1, t2, flair]}
outputs: [dicom-seg, dicom-sr, overlay]
"""
RESAMPLED: Final = ANALYSIS.replace("name: tumour\n", "name: resampled\n", 1) + (
    "policies: {channel_grid: resample}\n"
)


def write_bundle(folder: Path) -> Path:
    """Write a bundle as MONAI's tools do: four channels in, two labels and a background out."""
    network = unet(4, 3)
    config = configuration(
        network,
        [
            *LOAD,
            step("Orientationd", axcodes="RAS", labels=None),
            step("NormalizeIntensityd", nonzero=True, channel_wise=True),
            step("EnsureTyped"),
        ],
        [
            step("Activationsd", "pred", softmax=True),
            invert(),
            step("AsDiscreted", "pred", argmax=True),
        ],
        windows(),
    )
    port = {"type": "image", "spatial_shape": [16, 16, 16], "dtype": "float32"}
    image = port | {"format": "magnitude", "modality": "MR", "num_channels": 4}
    image["channel_def"] = {str(number): str(name) for number, name in enumerate(ORDER)}
    pred = port | {"format": "segmentation", "num_channels": 3}
    pred["channel_def"] = {"0": "background", "1": "core", "2": "edema"}
    metadata = {
        "version": "0.1.0",
        "name": "Tiny tumour",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }
    for name in ("configs", "docs", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "docs" / "README.md").write_text("# Tiny tumour\n")
    torch.manual_seed(11)
    arguments = {key: value for key, value in network.items() if key != "_target_"}
    made: Any = UNet(**arguments)
    for value in made.parameters():
        torch.nn.init.normal_(value, 0.0, 0.4)
    torch.save(made.state_dict(), folder / "models" / "model.pt")
    return folder


def write_study(
    folder: Path, seed: int, heads: Mapping[Weighting, PhantomParameters]
) -> dict[Weighting, Written]:
    """Write one study, each series in a folder of its own."""
    return {
        weighting: phantoms.write_series(
            phantoms.head(parameters, weighting=weighting),
            folder / weighting,
            seed=seed + number,
            study_seed=seed,
            description=DESCRIPTIONS[weighting],
        )
        for number, (weighting, parameters) in enumerate(heads.items())
    }


class Scene:
    """Three studies, one model, two analyses, and what became of them."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        every = dict.fromkeys(ORDER, HEAD)
        finer = replace(HEAD, shape=(20, 60, 50), spacing=(5.5, 3.5, 3.8))
        other = every | {Weighting.T2: finer}
        without = {weighting: HEAD for weighting in ORDER if weighting is not Weighting.FLAIR}
        self.studies = {
            "whole": write_study(self.source / "whole", 100, every),
            "other-grid": write_study(self.source / "other-grid", 200, other),
            "without-flair": write_study(self.source / "without-flair", 300, without),
        }
        self.program = Program(folder, self.source)
        self.bundle = write_bundle(folder / "tiny-tumour")
        words = ("--name", "tiny-tumour", "--promote", "--why", "test")
        self.program("models", "register", str(self.bundle), *words)
        # 4: some studies are rejected
        self.program.run(ANALYSIS, RESAMPLED, status=4)

    def job(self, study: str, analysis: str) -> dict[str, Any]:
        """Return the job.json of one study."""
        uid = next(iter(self.studies[study].values())).study_instance_uid
        (job,) = (one for one in self.program.jobs(analysis) if one["study"] == uid)
        return job

    def expected(self, study: str, policy: ChannelGrid, folder: Path) -> NDArray[np.uint8]:
        """Return the label map of a predictor in this process."""
        series = {str(one): read_volume(self.source / study / one) for one in ORDER}
        taken = take_in(self.bundle, folder)
        predictor = predictors.open(taken.bundle, device=Device("cpu"))
        assert isinstance(predictor, TakesChannels)
        labels = []
        for order in (ORDER, ORDER[::-1]):
            named: dict[str, Volume] = {str(one): series[one] for one in order}
            channels = aligned(named, policy=policy, checkpoint=go_on)
            found = predictor.predict_channels(channels, checkpoint=go_on).label_map
            assert found is not None
            labels.append(found)
        # the order of the channels matters to this network
        assert labels[0].shape != labels[1].shape or (labels[0] != labels[1]).any()
        assert set(np.unique(labels[0])) == {0, 1, 2}
        return labels[0]

    def files(self, job: dict[str, Any], pattern: str) -> list[Path]:
        """Return the artifacts of a job."""
        return sorted((self.program.out / "studies" / job["study"] / job["job"]).glob(pattern))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """One run over everything."""
    return Scene(tmp_path_factory.mktemp("channels"))


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


@pytest.mark.parametrize(
    ("study", "analysis", "policy"),
    [("whole", "tumour", "refuse"), ("other-grid", "resampled", "resample")],
)
def test_the_label_map_is_that_of_the_predictor(
    study: str, analysis: str, policy: ChannelGrid, scene: Scene, tmp_path: Path
) -> None:
    job = scene.job(study, analysis)
    assert job["status"] == "succeeded"
    (file,) = scene.files(job, "tumour.dcm")
    instances = scene.studies[study][Weighting.T1C].sop_instance_uids
    found = hd.seg.segread(file).get_pixels_by_source_instance(
        instances,
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(found, scene.expected(study, policy, tmp_path))


def test_the_report_and_explain_name_every_series(scene: Scene) -> None:
    job = scene.job("whole", "tumour")
    uids = {str(key): one.series_instance_uid for key, one in scene.studies["whole"].items()}
    (told,) = job["report"]["steps"][0]["inputs"]
    assert told["series_instance_uid"] == uids["t1c"]
    assert told["channels"] == [
        {"input": name, "series_instance_uid": uids[name]} for name in ("t1c", "t1", "t2", "flair")
    ]
    assert told["warnings"] == []
    explained = scene.program("explain", job["job"])
    assert "step tumour: tiny-tumour on t1c, t1, t2, flair" in explained
    for number, name in enumerate(("t1c", "t1", "t2", "flair"), start=1):
        assert f"channel {number}: input {name}, series {uids[name]}" in explained


def test_the_objects_refer_to_every_series_and_lie_on_the_first(scene: Scene) -> None:
    written = scene.studies["whole"]
    job = scene.job("whole", "tumour")
    (seg,), (report,) = (
        list(map(pydicom.dcmread, scene.files(job, name))) for name in ("tumour.dcm", "*report.dcm")
    )
    sources = {one.series_instance_uid: set(one.sop_instance_uids) for one in written.values()}
    assert _referenced(seg.ReferencedSeriesSequence, "ReferencedInstanceSequence") == sources
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    rests = _referenced(evidence.ReferencedSeriesSequence, "ReferencedSOPSequence")
    assert rests == sources | {seg.SeriesInstanceUID: {seg.SOPInstanceUID}}
    assert {result["series"] for result in job["results"]} == {
        written[Weighting.T1C].series_instance_uid
    }


def _referenced(series: Any, instances: str) -> dict[str, set[str]]:
    return {
        str(one.SeriesInstanceUID): {str(each.ReferencedSOPInstanceUID) for each in one[instances]}
        for one in series
    }


def test_a_study_that_lacks_a_series_is_rejected(scene: Scene) -> None:
    job = scene.job("without-flair", "tumour")
    assert (job["status"], job["reason"]) == ("rejected", "selection.no_series")
    assert "flair" in json.dumps(job)


def test_another_grid_is_rejected_or_resampled_as_the_analysis_says(scene: Scene) -> None:
    job = scene.job("other-grid", "tumour")
    assert (job["status"], job["reason"]) == ("rejected", "series.geometry_invalid")
    wanted = "input t2 has 20 x 60 x 50 voxels, the first has 16 x 48 x 40"
    assert wanted in scene.program("explain", job["job"])
    resampled = scene.job("other-grid", "resampled")["report"]
    assert resampled["policies"]["channel_grid"] == "resample"
    assert any(
        said.startswith("input t2 was resampled linearly onto the grid of the first series")
        for said in resampled["warnings"]
    )


def test_the_check_of_a_document_names_the_channels(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "tumour.yaml"
    path.write_text(ANALYSIS)
    assert "tumour 1 is sound" in scene.program("analyses", "check", str(path))
    path.write_text(ANALYSIS.replace(", flair]", "]").replace("  flair: {", "  #flair: {"))
    told = scene.program("analyses", "check", str(path), status=1)
    assert "model tiny-tumour reads 4 series as channels (t1c, t1, t2, flair)" in told
    assert "the step gives it 3" in told
