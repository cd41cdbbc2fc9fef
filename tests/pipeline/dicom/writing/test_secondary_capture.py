"""The summary page as a Secondary Capture: what it is, and what is not on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.dicom.writing.secondary_capture import write_summary
from pipeline.results import Classification, Detection, Prediction
from pipeline.volume import Image
from tests.pipeline.dicom.segs import PROVENANCE, with_blob
from tests.pipeline.dicom.writing.sources import IMAGES, SOURCES, ct, edited, strictly
from tests.pipeline.dicom.writing.validator import errors, needs_dciodvfy

NOTHING = Prediction(findings=())
LIKELY = Prediction(findings=(Classification(label="lesion", score=0.75, is_top=True),))


@needs_dciodvfy
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("prediction", [NOTHING, LIKELY])
def test_a_summary_is_without_fault(kind: str, prediction: Prediction, tmp_path: Path) -> None:
    data = write_summary(SOURCES[kind](tmp_path), prediction, PROVENANCE)
    assert errors(data, tmp_path) == []


@pytest.mark.parametrize("kind", SOURCES)
def test_a_summary_is_one_coloured_page_in_the_study(kind: str, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path)
    assert source.header is not None
    page = strictly(write_summary(source, LIKELY, PROVENANCE))
    assert page.pixel_array.shape == (page.Rows, 1024, 3)
    assert page.StudyInstanceUID == source.header.study_instance_uid
    assert page.ImageType == ["DERIVED", "SECONDARY", "OTHER", "SUMMARY"]
    assert (page.Modality, page.ConversionType) == ("OT", "WSD")
    named = {item.ReferencedSOPInstanceUID for item in page.SourceImageSequence}
    assert named == {one.sop_instance_uid for one in source.header.instances}


def test_nothing_about_the_patient_is_drawn(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    assert volume.header is not None

    def rename(dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID = "CANARY^BIRD", "CANARY"
        dataset.PatientBirthDate, dataset.AccessionNumber = "19500101", "A1"

    header = replace(volume.header, template=edited(volume.header.template, rename))
    one, other = (
        strictly(write_summary(source, LIKELY, PROVENANCE))
        for source in (volume, replace(volume, header=header))
    )
    assert other.PatientName == "CANARY^BIRD"
    assert np.array_equal(one.pixel_array, other.pixel_array)


@pytest.mark.parametrize(
    ("kind", "stated", "expected"),
    [
        ("ct", None, "NO"),
        ("mr", None, "NO"),
        ("pet", None, "NO"),
        ("ultrasound", None, "YES"),
        ("radiograph", None, "YES"),
        ("radiograph", "NO", "NO"),
        ("ct", "YES", "YES"),
    ],
)
def test_burned_in_text_is_stated_where_the_slices_may_have_it(
    kind: str, stated: str | None, expected: str, tmp_path: Path
) -> None:
    source = SOURCES[kind](tmp_path)
    assert source.header is not None
    if stated is not None:
        template = edited(
            source.header.template, lambda d: setattr(d, "BurnedInAnnotation", stated)
        )
        source = replace(source, header=replace(source.header, template=template))
    assert strictly(write_summary(source, NOTHING, PROVENANCE)).BurnedInAnnotation == expected


def test_findings_change_the_page_and_the_same_findings_do_not(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    label_map, _ = with_blob(volume.stored.shape)
    pages = [
        write_summary(volume, prediction, PROVENANCE)
        for prediction in (NOTHING, LIKELY, replace(NOTHING, label_map=label_map), NOTHING)
    ]
    assert pages[0] == pages[3]
    assert len(set(pages)) == 3


def test_a_thousand_findings_still_fit_one_page(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    boxes = tuple(
        Detection(
            label="nodule " * 20,
            score=0.5,
            index_box=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
            centre=(0.0, 0.0, 0.0),
            size=(1.0, 1.0, 1.0),
        )
        for _ in range(1000)
    )
    page = strictly(write_summary(volume, Prediction(findings=boxes), PROVENANCE))
    assert page.Rows < 1600


def test_colour_images_are_shown_in_colour(tmp_path: Path) -> None:
    source = IMAGES["ultrasound"](tmp_path)
    red = np.zeros((1, 48, 40, 3), np.uint8)
    red[..., 0] = 200
    pixels = strictly(write_summary(replace(source, pixels=red), NOTHING, PROVENANCE)).pixel_array
    assert ((pixels == (200, 0, 0)).all(axis=2)).sum() > 10_000


def test_a_source_without_a_header_is_our_fault() -> None:
    with pytest.raises(ValueError, match="header"):
        write_summary(Image(pixels=np.zeros((1, 4, 4), np.float32)), NOTHING, PROVENANCE)
