"""Reports: what they say, where their regions lie, and what others say of them."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.sr import reference_to, write_sr
from pipeline.phantoms import chest
from pipeline.results import (
    Classification,
    Code,
    Detection,
    Finding,
    Measurement,
    Segment,
)
from pipeline.volume import Image, Input, Regridding, Volume
from tests.pipeline.dicom.segs import (
    PROVENANCE,
    SMALL,
    all_axis_orders,
    oblique,
    on_disk,
    segment,
    turned,
    with_blob,
)
from tests.pipeline.dicom.writing.sources import IMAGES, SOURCES, VOLUMES, ct, edited, strictly
from tests.pipeline.dicom.writing.validator import errors, needs_dciodvfy

LUNG = Code(scheme="SCT", value="39607008", meaning="Lung")
STRUCTURE = Code(scheme="SCT", value="123037004", meaning="Anatomical Structure")
TURNS = [*all_axis_orders()[::5], *oblique()[:3]]
BOX = (1.0, 3.0, 4.5, 4.0, 9.0, 10.25)


def box(source: Input, index_box: tuple[float, ...] = BOX) -> Detection:
    """A detection as the predictors state it."""
    low, high = np.array(index_box[:3]), np.array(index_box[3:])
    centre, size = None, None
    if isinstance(source, Volume):
        centre = tuple(source.to_patient((low + high) / 2 - 0.5).tolist())
        size = tuple(((high - low) * source.spacing).tolist())
    return Detection(
        label="nodule",
        score=0.875,
        index_box=index_box,  # type: ignore[arg-type]
        centre=centre,
        size=size,
    )


def everything(source: Input) -> tuple[Finding, ...]:
    """One finding of each kind, and numbers that are none."""
    return (
        Segment(
            number=2,
            label="Lung",
            voxels=24,
            volume_ml=3.25,
            centroid=(1.0, -2.5, 1 / 3),
            code=LUNG,
            category=STRUCTURE,
        ),
        box(source),
        Classification(label="lesion", score=0.25),
        Classification(label="no lesion", score=0.75, is_top=True),
        Measurement(label="mean density of everything there is", value=-700 / 3, unit="HU"),
        Measurement(label="broken", value=float("nan"), unit="mm"),
    )


def report(data: bytes) -> Any:
    """Read as highdicom does, which checks the templates."""
    return hd.sr.srread(io.BytesIO(data)).content


def numbers(group: Any) -> dict[str, float]:
    return {one.name.meaning: one.value for one in group.get_measurements()}


def written(source: Input, findings: Sequence[Finding]) -> bytes:
    return write_sr(source, findings, PROVENANCE, segmentation=None)


def items_of(dataset: Dataset, value_type: str) -> list[Dataset]:
    found = []
    for item in dataset.get("ContentSequence", ()):
        found += [item] * (item.ValueType == value_type) + items_of(item, value_type)
    return found


@needs_dciodvfy
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("is_empty", [False, True])
def test_a_report_is_without_fault(kind: str, tmp_path: Path, *, is_empty: bool) -> None:
    source = SOURCES[kind](tmp_path)
    data = written(source, () if is_empty else everything(source))
    assert errors(data, tmp_path) == []
    assert strictly(data).SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize("kind", SOURCES)
def test_dcmtk_reads_a_report(kind: str, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path)
    file = tmp_path / "report.dcm"
    file.write_bytes(written(source, everything(source)))
    said = subprocess.run(
        ["dsrdump", "--print-all-codes", str(file)],  # noqa: S607 - from the PATH, as any reader
        capture_output=True,
        text=True,
        check=True,
    )
    assert "E: " not in said.stderr
    assert '(122157,DCM,"Probability")="0.875" (1,UCUM,"no units")' in said.stdout
    assert "Comprehensive 3D SR Document" in said.stdout


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("index_box", [BOX, (0.0, 0.0, 0.0, 5.0, 40.0, 32.0)])
def test_a_box_lies_where_it_was_found_and_has_its_size(
    turn: NDArray[np.float64], index_box: tuple[float, ...], tmp_path: Path
) -> None:
    phantom = turned(chest(SMALL), turn, np.array([-31.5, 12.25, 104.0]))
    volume = on_disk(phantom, tmp_path)
    assert volume.header is not None
    detection = box(volume, index_box)
    (group,) = report(written(volume, [detection])).get_volumetric_roi_measurement_groups()
    positions = {one.sop_instance_uid: one.position for one in volume.header.instances}
    cosines = volume.affine[:3, :3] / volume.spacing
    centres, extents = [], []
    for region in group.roi:
        uid = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        corners = np.asarray(region.value)
        assert np.array_equal(corners[0], corners[-1])
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2 - 0.5
        centres.append(
            np.asarray(positions[uid])
            + cosines[:, 2] * middle[0] * volume.spacing[2]
            + cosines[:, 1] * middle[1] * volume.spacing[1]
        )
        extents.append(np.ptp(corners, axis=0))
    assert detection.centre is not None
    assert detection.size is not None
    np.testing.assert_allclose(np.mean(centres, axis=0), detection.centre, atol=1e-3)
    assert len(centres) * volume.spacing[0] == pytest.approx(detection.size[0])
    width, height = np.mean(extents, axis=0)
    assert height * volume.spacing[1] == pytest.approx(detection.size[1])
    assert width * volume.spacing[2] == pytest.approx(detection.size[2])
    stated = numbers(group)
    assert [stated[name] for name in ("Depth", "Height", "Width")] == pytest.approx(detection.size)
    assert [
        stated[f"Centre {axis} in patient coordinates (LPS)"] for axis in "XYZ"
    ] == pytest.approx(detection.centre)


@pytest.mark.parametrize(
    ("first", "past", "slices"),
    [(1.6, 1.9, [1]), (1.9, 2.4, [2]), (2.0, 3.0, [2]), (4.6, 5.0, [4])],
)
def test_a_box_thinner_than_a_slice_is_drawn_on_the_nearest(
    first: float, past: float, slices: list[int], tmp_path: Path
) -> None:
    volume = ct(tmp_path)
    assert volume.header is not None
    data = written(volume, [box(volume, (first, 3.0, 4.0, past, 9.0, 10.0))])
    (group,) = report(data).get_volumetric_roi_measurement_groups()
    uids = [one.sop_instance_uid for one in volume.header.instances]
    assert [
        uids.index(r.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for r in group.roi
    ] == slices


def test_a_box_in_a_straightened_volume_lies_on_the_slices_as_they_were(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    stored = np.zeros((6, 44, 32), np.int16)
    straight = replace(
        volume,
        stored=stored,
        regridding=Regridding(
            shape=volume.stored.shape,
            slices=(0, 1, 2, 4, 5),
            shifts=tuple((0.5 * index, 0.0) for index in range(5)),
        ),
    )
    (group,) = report(
        written(straight, [box(straight, (2.0, 10.0, 4.0, 5.0, 20.0, 9.0))])
    ).get_volumetric_roi_measurement_groups()
    rows = [(region.value[:, 1].min(), region.value[:, 1].max()) for region in group.roi]
    assert rows == [(9.0, 19.0), (8.5, 18.5)]  # slices 2 and 3 of the source; 3 is made up


def test_frames_of_an_enhanced_source_are_named_by_number(tmp_path: Path) -> None:
    volume = VOLUMES["enhanced"](tmp_path)
    (group,) = report(written(volume, [box(volume)])).get_volumetric_roi_measurement_groups()
    frames = [
        region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber
        for region in group.roi
    ]
    assert frames == [4, 1, 5]


@pytest.mark.parametrize("kind", IMAGES)
def test_a_box_on_an_image_is_planar_and_has_no_millimetres(kind: str, tmp_path: Path) -> None:
    image = IMAGES[kind](tmp_path)
    assert isinstance(image, Image)
    frames = len(image.pixels)
    detection = box(image, (0.0, 3.0, 4.5, float(frames), 9.0, 10.25))
    (group,) = report(written(image, [detection])).get_planar_roi_measurement_groups()
    corners = np.asarray(group.roi.value)
    assert corners.tolist() == [[4.5, 3], [10.25, 3], [10.25, 9], [4.5, 9], [4.5, 3]]
    assert numbers(group) == {"Probability": 0.875}
    named = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
    assert named.get("ReferencedFrameNumber") == ([1, 2, 3] if frames == 3 else None)


def test_boxes_stay_within_the_image(tmp_path: Path) -> None:
    image = IMAGES["radiograph"](tmp_path)
    detection = box(image, (0.0, -2.0, -1.0, 1.0, 60.0, 50.0))
    (group,) = report(written(image, [detection])).get_planar_roi_measurement_groups()
    assert np.asarray(group.roi.value).max(axis=0).tolist() == [40.0, 48.0]
    assert np.asarray(group.roi.value).min(axis=0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("encoding", Encoding)
def test_segments_refer_to_the_segmentation_and_its_numbers(
    encoding: Encoding, tmp_path: Path
) -> None:
    volume = ct(tmp_path)
    assert volume.header is not None
    label_map, _ = with_blob(SMALL.shape)
    label_map[label_map == 1] = 7
    segments = [segment(7, "Lung", LUNG), segment(3, "Body")]
    seg = write_seg(volume, label_map, segments, PROVENANCE, encoding=encoding)
    reference = reference_to(seg, segments, PROVENANCE)
    data = write_sr(volume, segments, PROVENANCE, segmentation=reference)
    named = strictly(seg)
    by_number = {item.SegmentNumber: item.SegmentLabel for item in named.SegmentSequence}
    groups = report(data).get_volumetric_roi_measurement_groups()
    assert [group.reference_type for group in groups] == [codes.DCM.ReferencedSegment] * 2
    for group, one in zip(groups, segments, strict=True):
        target = group.referenced_segment[0].ReferencedSOPSequence[0]
        assert target.ReferencedSOPInstanceUID == named.SOPInstanceUID
        assert by_number[target.ReferencedSegmentNumber] == one.label
        tracked = {item.get("TrackingUID") for item in named.SegmentSequence}
        assert group.tracking_uid in tracked
    evidence = strictly(data).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    listed = {
        item.ReferencedSOPInstanceUID
        for series in evidence
        for item in series.ReferencedSOPSequence
    }
    sources = {one.sop_instance_uid for one in volume.header.instances}
    assert listed == sources | {named.SOPInstanceUID}


def test_numbers_have_the_units_and_values_that_were_found(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    content = report(written(volume, everything(volume)))
    groups = content.get_image_measurement_groups()
    lung, lesion, none, density, broken = groups
    assert numbers(lung) == pytest.approx(
        {
            "Volume": 3.25,
            "Centre X in patient coordinates (LPS)": 1.0,
            "Centre Y in patient coordinates (LPS)": -2.5,
            "Centre Z in patient coordinates (LPS)": 1 / 3,
        }
    )
    assert (lung.finding_type.value, lung.finding_category.value) == ("39607008", "123037004")
    answers = [one.get_qualitative_evaluations()[0] for one in (lesion, none)]
    assert [(one.name.meaning, one.value.meaning) for one in answers] == [
        ("lesion", "No"),
        ("no lesion", "Yes"),
    ]
    assert [numbers(one)["Probability"] for one in (lesion, none)] == [0.25, 0.75]
    (mean,) = density.get_measurements()
    assert (mean.value, mean.unit.value) == (-700 / 3, "[hnsf'U]")
    assert not broken.get_measurements()
    (evaluation,) = broken.get_qualitative_evaluations()
    assert evaluation.value == codes.DCM.NotANumber


def test_a_class_that_is_not_likely_is_no_finding(tmp_path: Path) -> None:
    image = IMAGES["radiograph"](tmp_path)
    data = written(image, [Classification(label="lesion", score=0.01)])
    (group,) = report(data).get_image_measurement_groups()
    assert group.finding_type is None


def test_an_empty_report_says_so(tmp_path: Path) -> None:
    content = report(written(ct(tmp_path), ()))
    (group,) = content.get_image_measurement_groups()
    (evaluation,) = group.get_qualitative_evaluations()
    assert evaluation.value.meaning == "All algorithms succeeded; without findings"


def test_private_codes_are_short_distinct_and_explained(tmp_path: Path) -> None:
    labels = [
        "Lesion",
        "a very long label of a class",
        "a very long label of another",
        "Größe",
        "µ",
    ]
    findings = [Classification(label=label, score=0.5) for label in labels]
    dataset = strictly(written(ct(tmp_path), findings))
    values = [
        item.ConceptNameCodeSequence[0].CodeValue
        for item in items_of(dataset, "CODE")
        if item.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99NIGHTSHIFT"
    ]
    assert len(set(values)) == len(labels)
    assert all(len(value) <= 16 for value in values)
    (scheme,) = dataset.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99NIGHTSHIFT"


def test_the_model_and_the_software_are_named(tmp_path: Path) -> None:
    dataset = strictly(written(ct(tmp_path), ()))
    texts = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.TextValue
        for item in items_of(dataset, "TEXT")
    }
    assert texts["Algorithm Name"] == "threshold-lung"
    assert texts["Algorithm Version"] == "1"
    assert texts["Algorithm Parameters"] == f"model sha256 {'ab' * 32}"
    assert texts["Device Observer Name"] == "Nightshift"
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert (dataset.ContentDate, dataset.ContentTime) == ("20260304", "050607")
    assert (dataset.PreliminaryFlag, dataset.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")


def test_the_library_holds_every_image_once_with_its_place(tmp_path: Path) -> None:
    volume = on_disk(chest(replace(SMALL, shape=(120, 40, 32))), tmp_path)
    assert volume.header is not None
    dataset = strictly(written(volume, [box(volume)]))
    (library,) = [
        item
        for item in items_of(dataset, "CONTAINER")
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Image Library Group"
    ]
    images = [item for item in library.ContentSequence if item.ValueType == "IMAGE"]
    for item, one in zip(images, volume.header.instances, strict=True):
        assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == one.sop_instance_uid
        place = [
            float(number.MeasuredValueSequence[0].NumericValue) for number in item.ContentSequence
        ]
        assert place == pytest.approx(one.position)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_image_that_is_referred_to_is_in_the_evidence(kind: str, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path)
    dataset = strictly(written(source, everything(source)))
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == dataset.StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    listed = [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence]
    named = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in items_of(dataset, "IMAGE")
    }
    assert len(listed) == len(set(listed))
    assert named == set(listed)


def test_the_procedure_of_the_study_is_reported_where_it_is_coded(tmp_path: Path) -> None:
    def state(dataset: Dataset) -> None:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "24627-2", "LN"
        code.CodeMeaning = "Chest CT"
        dataset.ProcedureCodeSequence = [code, Dataset()]

    volume = ct(tmp_path)
    assert volume.header is not None
    header = replace(volume.header, template=edited(volume.header.template, state))
    reported = [
        item.ConceptCodeSequence[0].CodeValue
        for item in items_of(strictly(written(replace(volume, header=header), ())), "CODE")
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Procedure reported"
    ]
    assert reported == ["24627-2"]


@needs_dciodvfy
def test_an_identity_that_was_removed_by_no_stated_method_is_no_fault(tmp_path: Path) -> None:
    volume = ct(tmp_path)
    assert volume.header is not None
    template = edited(volume.header.template, lambda d: setattr(d, "PatientIdentityRemoved", "YES"))
    anonymous = replace(volume, header=replace(volume.header, template=template))
    assert errors(written(anonymous, ()), tmp_path) == []


def test_the_same_findings_give_the_same_bytes_and_other_inputs_other_objects(
    tmp_path: Path,
) -> None:
    volume = ct(tmp_path)
    findings = everything(volume)
    assert written(volume, findings) == written(volume, findings)
    other = write_sr(volume, findings, replace(PROVENANCE, source="other"), segmentation=None)
    assert strictly(other).SOPInstanceUID != strictly(written(volume, findings)).SOPInstanceUID


def test_a_source_without_a_header_is_our_fault() -> None:
    image = Image(pixels=np.zeros((1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="header"):
        written(image, ())
