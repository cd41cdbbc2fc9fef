"""All objects of one answer together: which there are, and how they refer to each other."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from pipeline.dicom.writing.objects import ObjectWriter
from pipeline.models import measures
from pipeline.models.spec import Label
from pipeline.results import Classification, DerivedImage, Prediction, ValueMap
from pipeline.volume import Volume
from tests.pipeline.dicom.segs import PROVENANCE, with_blob
from tests.pipeline.dicom.writing.sources import IMAGES, SOURCES, ct, strictly

ALL = (
    "dicom-seg",
    "dicom-seg-labelmap",
    "dicom-seg-fractional",
    "dicom-sr",
    "dicom-parametric-map",
    "dicom-derived",
    "dicom-secondary-capture",
    "overlay",
)


def whole(volume: Volume) -> Prediction:
    """A prediction with all there can be."""
    label_map, _ = with_blob(volume.stored.shape)
    label_map[0, 1, 1] = 2
    labels = (Label(number=1, name="blob"), Label(number=2, name="dot"))
    maps = tuple(
        ValueMap(
            name=label.name,
            values=(label_map == label.number).astype(np.float32) * np.float32(0.8),
            segment=label.number,
        )
        for label in labels
    )
    heat = ValueMap(name="heat", values=np.ones(volume.stored.shape, np.float32))
    derived = DerivedImage(name="Denoised image", values=volume.values(), affine=None)
    return Prediction(
        findings=measures.segments(label_map, volume, labels),
        label_map=label_map,
        maps=(*maps, heat),
        derived=(derived,),
    )


def writer(volume: Volume, prediction: Prediction) -> ObjectWriter:
    return ObjectWriter(source=volume, prediction=prediction, provenance=PROVENANCE, name="lungs")


def test_every_output_is_written_under_a_name_of_its_own(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    written = {one.name: one.kind for one in writer(volume, whole(volume)).write(ALL)}
    assert written == {
        "lungs.dcm": "dicom-seg",
        "lungs-labelmap.dcm": "dicom-seg-labelmap",
        "lungs-fractional.dcm": "dicom-seg-fractional",
        "lungs-report.dcm": "dicom-sr",
        "lungs-map-1.dcm": "dicom-parametric-map",
        "lungs-map-2.dcm": "dicom-parametric-map",
        "lungs-map-3.dcm": "dicom-parametric-map",
        **{f"lungs-denoised-image-000{number}.dcm": "dicom-derived" for number in range(1, 6)},
        "lungs-summary.dcm": "dicom-secondary-capture",
    }


def test_objects_of_one_answer_share_study_and_frame_but_no_identity(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    assert volume.header is not None
    read = [strictly(one.data) for one in writer(volume, whole(volume)).write(ALL)]
    assert len({one.SOPInstanceUID for one in read}) == len(read)
    assert {one.StudyInstanceUID for one in read} == {volume.header.study_instance_uid}
    by_series = {one.SeriesInstanceUID: one.SeriesNumber for one in read}
    assert len(by_series) == len(set(by_series.values())) == 7
    frames = {one.FrameOfReferenceUID for one in read if "FrameOfReferenceUID" in one}
    assert frames == {volume.header.frame_of_reference_uid}


@pytest.mark.parametrize(
    ("outputs", "named"),
    [
        (ALL, "dicom-seg"),
        (("dicom-seg-labelmap", "dicom-sr"), "dicom-seg-labelmap"),
        (("dicom-seg-fractional", "dicom-sr"), "dicom-seg-fractional"),
        (("dicom-sr",), None),
    ],
)
def test_the_report_refers_to_the_segmentation_written_beside_it(
    outputs: tuple[str, ...], named: str | None, tmp_path: Path
) -> None:
    volume = ct(tmp_path)
    written = {one.kind: one.data for one in writer(volume, whole(volume)).write(outputs)}
    content = hd.sr.srread(io.BytesIO(written["dicom-sr"])).content
    groups = content.get_volumetric_roi_measurement_groups()
    found = {
        group.referenced_segment[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for group in groups
    }
    expected = set() if named is None else {strictly(written[named]).SOPInstanceUID}
    assert found == expected
    assert len(groups) == 2 * len(expected)


def test_probabilities_come_back_from_both_kinds_of_object(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    prediction = whole(volume)
    written = {one.name: one.data for one in writer(volume, prediction).write(ALL)}
    fractional = pydicom.dcmread(io.BytesIO(written["lungs-fractional.dcm"]))
    first = fractional.pixel_array[0] / fractional.MaximumFractionalValue
    assert prediction.label_map is not None
    np.testing.assert_allclose(first, 0.8 * (prediction.label_map[3] == 1), atol=1 / 255)
    mapped = pydicom.dcmread(io.BytesIO(written["lungs-map-1.dcm"]))
    np.testing.assert_array_equal(mapped.pixel_array, prediction.maps[0].values)


def test_what_a_prediction_does_not_have_is_not_written(tmp_path: Path) -> None:
    image = IMAGES["radiograph"](tmp_path)
    found = Prediction(findings=(Classification(label="lesion", score=0.5, is_top=True),))
    made = ObjectWriter(source=image, prediction=found, provenance=PROVENANCE, name="lesion")
    assert [one.kind for one in made.write(ALL)] == ["dicom-sr", "dicom-secondary-capture"]
    assert list(made.write(("overlay",))) == []


@pytest.mark.parametrize("kind", SOURCES)
def test_a_second_writing_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path)
    found = Prediction(findings=(Classification(label="lesion", score=0.5),))
    if isinstance(source, Volume):
        found = replace(whole(source), warnings=())
    made = ObjectWriter(source=source, prediction=found, provenance=PROVENANCE, name="x")
    assert [one.data for one in made.write(ALL)] == [one.data for one in made.write(ALL)]
