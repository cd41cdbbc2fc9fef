"""A study of every modality through the whole program, by the analyses that ship."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from pipeline.phantoms import Tissue
from tests.pipeline.dicom.writing.validator import errors, needs_dciodvfy
from tests.system import modalities
from tests.system.modality_run import Ran, Scene, dice, on_frames, on_volume, run_once

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

#: study -> the analyses it is for
REAL: Final = {
    "real-cr": {"image-lesion"},
    "real-us": {"image-lesion"},
    "real-us-colour": {"photo-lesion"},
    "real-us-cine": {"photo-lesion"},
    "real-nm": {"image-lesion"},
    "real-ct": {"ct-lungs", "ct-nodules-demo"},
    "real-mr": {"mr-head"},
    "real-mr-cine": {"image-lesion"},
    "real-xa": {"image-lesion"},
    "real-fundus": {"photo-lesion"},
}
OF_PHANTOMS: Final = {
    "ct": {"ct-lungs", "ct-nodules-demo"},
    "mr": {"mr-head"},
    "pt": {"pt-uptake"},
    "cr": {"image-lesion"},
    "dx": {"image-lesion"},
    "mg": {"mg-breast", "image-lesion"},
    "us": {"image-lesion"},
    "us-cine": {"image-lesion", "objects"},
    "us-doppler": {"photo-lesion"},
    "es": {"photo-lesion"},
    "es-video": {"photo-lesion"},
    "xc": {"photo-lesion"},
    "dms": {"photo-lesion"},
    "op": {"photo-lesion"},
    "sm": {"sm-tissue"},
}


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Scene:
    """One run over everything, for all processes of a test run."""
    here = tmp_path_factory.getbasetemp()
    return run_once(here if worker_id == "master" else here.parent)


def test_every_modality_is_analysed_and_every_object_refers_to_its_source(scene: Scene) -> None:
    page = (scene.out / "report.html").read_text()
    for name, expected in (OF_PHANTOMS | REAL).items():
        if name in REAL and name not in scene.studies:
            continue
        jobs = scene.jobs(name)
        assert set(jobs) == expected, name
        for ran in jobs.values():
            assert ran.job["status"] == "succeeded", (name, ran.job)
            assert ran.results
            assert ran.job["job"] in page
            _check_objects(ran)


def _check_objects(ran: Ran) -> None:
    """Hold what a job wrote to its source: same study, same patient, references that resolve."""
    headers = ran.study.headers()
    sources = {str(one.SOPInstanceUID) for one in headers}
    own = {str(one.SOPInstanceUID) for one in ran.objects.values()}
    assert any(one.Modality == "SR" for one in ran.objects.values())
    for one in ran.objects.values():
        assert one.StudyInstanceUID == ran.study.study_instance_uid
        assert one.PatientID == headers[0].get("PatientID", "")
        if one.Modality == "SEG":
            (series,) = one.ReferencedSeriesSequence
            told = {
                str(each.ReferencedSOPInstanceUID) for each in series.ReferencedInstanceSequence
            }
            assert told
            assert told <= sources
        elif one.Modality == "SR":
            (evidence,) = one.CurrentRequestedProcedureEvidenceSequence
            told = {
                str(each.ReferencedSOPInstanceUID)
                for series in evidence.ReferencedSeriesSequence
                for each in series.ReferencedSOPSequence
            }
            assert told & sources
            assert told <= sources | own


@needs_dciodvfy
def test_every_object_passes_a_validator_that_is_not_ours(scene: Scene, tmp_path: Path) -> None:
    # many frames under a class of one, and UIDs of a root that nobody was given
    unsound = scene.studies.get("real-mr-cine")
    paths = [
        path
        for path in sorted(scene.out.glob("studies/*/*/*.dcm"))
        if unsound is None or path.parents[1].name != unsound.study_instance_uid
    ]
    assert len(paths) > 2 * len(OF_PHANTOMS)
    faults = {(path.name, fault) for path in paths for fault in errors(path.read_bytes(), tmp_path)}
    assert faults == set()


def test_ct_lungs_and_nodules_are_where_they_are(scene: Scene) -> None:
    jobs, chest = scene.jobs("ct"), modalities.chest()
    lungs, nodules = jobs["ct-lungs"], jobs["ct-nodules-demo"]
    analytic = chest.analytic_ml
    assert lungs.found("lung")["value"] == pytest.approx(
        analytic[Tissue.LUNG] + analytic[Tissue.LESION], rel=0.1
    )
    truth = chest.mask(Tissue.LUNG) | chest.mask(Tissue.LESION)
    assert dice(truth, on_volume(lungs.seg("lungs"), chest.volume)) > 0.9
    mask = on_volume(nodules.seg("nodules"), chest.volume)
    assert dice(chest.mask(Tissue.LESION), mask) > 0.6
    centres = [row["payload"]["centre_mm"] for row in nodules.results if row["kind"] == "detection"]
    for lesion in chest.lesions:
        assert min(np.linalg.norm(np.subtract(lesion.centre, one)) for one in centres) < 10


def test_a_head_with_lesions_is_told(scene: Scene) -> None:
    ran = scene.jobs("mr")["mr-head"]
    assert ran.found("lesion")["payload"]["is_top"]
    assert ran.found("lesion")["score"] > 0.5


def test_high_uptake_of_a_pet_is_measured_in_suv(scene: Scene) -> None:
    ran, torso = scene.jobs("pt")["pt-uptake"], modalities.pet()
    uptake = ran.found("high uptake")
    assert uptake["unit"] == "mL"
    assert uptake["value"] == pytest.approx(torso.analytic_ml[Tissue.LESION], rel=0.2)
    assert dice(torso.mask(Tissue.LESION), on_volume(ran.seg("uptake"), torso.volume)) > 0.8


@pytest.mark.parametrize("name", ["cr", "dx", "us", "us-cine"])
def test_a_lesion_of_a_grey_image_is_told_and_outlined(scene: Scene, name: str) -> None:
    ran = scene.jobs(name)["image-lesion"]
    assert ran.found("lesion", "lesion")["payload"]["is_top"]
    assert ran.found("lesion", "outline")["unit"] == "pixels"
    assert ran.seg("outline").pixel_array.any()


@pytest.mark.parametrize("name", ["us-doppler", "es", "es-video", "xc", "dms", "op"])
def test_a_lesion_of_a_picture_in_colour_is_told(scene: Scene, name: str) -> None:
    lesion = scene.jobs(name)["photo-lesion"].found("lesion")
    assert lesion["payload"]["is_top"]
    assert lesion["score"] > 0.5


def test_a_loop_is_answered_for_frame_by_frame(scene: Scene) -> None:
    jobs, loop = scene.jobs("us-cine"), modalities.cine()
    numbers, times = [1, 2, 3, 4, 5], [0, 0.04, 0.08, 0.12, 0.16]
    ran = jobs["image-lesion"]
    for step in ("lesion", "outline"):
        payload = ran.found("lesion", step)["payload"]
        assert (payload["frames"], payload["times_s"]) == (numbers, times)
    assert dice(loop.truth, on_frames(ran.seg("outline"), loop.image)) > 0.8
    boxes = [row for row in jobs["objects"].results if row["kind"] == "detection"]
    assert sorted(row["payload"]["frames"] for row in boxes) == [[one] for one in numbers]
    assert dice(loop.truth, on_frames(jobs["objects"].seg("objects"), loop.image)) > 0.8


def test_an_endoscopic_video_says_when_the_lesion_comes_into_view(scene: Scene) -> None:
    payload = scene.jobs("es-video")["photo-lesion"].found("lesion")["payload"]
    assert tuple(score > 0.5 for score in payload["by_frame"]) == modalities.SHOWS
    assert payload["times_s"][modalities.SHOWS.index(True)] == 0.12


def test_a_video_that_no_decoder_reads_is_refused_by_name(scene: Scene) -> None:
    with (scene.out / "skipped.csv").open(newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["path"].startswith("es-mpeg/"))
    assert row["reason"] == "file.transfer_syntax"
    assert "MPEG-4" in row["sentence"]
    assert scene.jobs("es-mpeg") == {}


def test_the_breast_of_a_mammogram_is_outlined(scene: Scene) -> None:
    ran, breast = scene.jobs("mg")["mg-breast"], modalities.breast()
    assert ran.found("breast")["value"] == pytest.approx(breast.analytic_pixels, rel=0.02)
    assert dice(breast.truth, on_frames(ran.seg("breast"), breast.image)) > 0.98


def test_tissue_of_a_slide_is_marked_tile_by_tile(scene: Scene) -> None:
    ran, slide = scene.jobs("sm")["sm-tissue"], modalities.slide()
    held = np.flatnonzero(slide.truth.mean(axis=(1, 2)) > 0.05) + 1
    assert set(held) <= set(ran.found("tissue")["payload"]["frames"])
    assert dice(slide.truth, on_frames(ran.seg("tissue"), slide.image)) > 0.98


@pytest.mark.parametrize("name", REAL)
def test_real_images_of_every_kind_are_answered_for(scene: Scene, name: str) -> None:
    for ran in scene.jobs(name).values():
        kinds = {row["kind"] for row in ran.results}
        assert kinds & {"classification", "segment"}
        for row in ran.results:
            assert row["score"] is None or 0 <= row["score"] <= 1
            assert row["value"] is None or row["value"] >= 0
        for path, one in ran.objects.items():
            if one.Modality == "SEG":
                assert one.Rows, path
                assert ran.seg(path.removesuffix(".dcm")).number_of_segments >= 1


def test_the_frames_of_a_real_loop_have_scores_and_times(scene: Scene) -> None:
    payload = scene.jobs("real-us-cine")["photo-lesion"].found("lesion")["payload"]
    header = scene.study("real-us-cine").headers()[0]
    assert len(payload["by_frame"]) == header.NumberOfFrames == 30
    assert payload["times_s"][1] == pytest.approx(float(header.FrameTime) / 1000)
