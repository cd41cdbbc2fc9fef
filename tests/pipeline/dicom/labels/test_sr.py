"""Reports: regions, boxes and judgements of TID 1500 where their coordinates say."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from pipeline.dicom.labels.label_read import LabelRead, Wanted
from pipeline.dicom.labels.limits import LabelLimits
from pipeline.dicom.labels.options import Options
from pipeline.dicom.writing.seg import write_seg
from pipeline.dicom.writing.sr import reference_to, write_sr
from pipeline.errors import StudyRejected
from pipeline.phantoms import chest
from pipeline.reasons import Reason
from pipeline.results import Classification, Code, Detection
from pipeline.volume import Image, Volume
from tests.pipeline.dicom.labels.made_labels import (
    CT,
    FRAME_OF_REFERENCE,
    box,
    oblique,
    read_bytes,
    volume,
)
from tests.pipeline.dicom.made_series import with_meta
from tests.pipeline.dicom.segs import PROVENANCE, SMALL, on_disk, segment

SHAPE = (12, 48, 40)
NODULE = Code(scheme="SCT", value="27925004", meaning="Nodule")


def coded(keyword: str, scheme: str, value: str, meaning: str) -> Dataset:
    item, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    setattr(item, keyword, [code])
    return item


def content(kind: str, name: tuple[str, str, str], relation: str = "CONTAINS") -> Dataset:
    item = coded("ConceptNameCodeSequence", *name)
    item.ValueType, item.RelationshipType = kind, relation
    return item


def judged(name: tuple[str, str, str], value: tuple[str, str, str]) -> Dataset:
    item = content("CODE", name)
    item.ConceptCodeSequence = coded("ConceptCodeSequence", *value).ConceptCodeSequence
    return item


FINDING = ("DCM", "121071", "Finding")
REGION = ("DCM", "111030", "Image Region")
GROUP = ("DCM", "125007", "Measurement Group")


def on_image(kind: str, points: NDArray[np.float64], uid: str) -> Dataset:
    """A graphic of (column, row) pairs on one image."""
    item, image, reference = content("SCOORD", REGION), Dataset(), Dataset()
    item.GraphicType, item.GraphicData = kind, points.ravel().tolist()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, uid
    image.RelationshipType, image.ValueType = "SELECTED FROM", "IMAGE"
    image.ReferencedSOPSequence = [reference]
    item.ContentSequence = [image]
    return item


def in_patient(kind: str, points: NDArray[np.float64], frame: str = FRAME_OF_REFERENCE) -> Dataset:
    item = content("SCOORD3D", REGION)
    item.GraphicType, item.GraphicData = kind, points.ravel().tolist()
    item.ReferencedFrameOfReferenceUID = frame
    return item


def group(*children: Dataset) -> Dataset:
    item = content("CONTAINER", GROUP)
    item.ContentSequence = list(children)
    return item


def report(*groups: Dataset) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = Comprehensive3DSRStorage, "1.2.3.8.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.8"
    dataset.Modality, dataset.ValueType = "SR", "CONTAINER"
    measurements = content("CONTAINER", ("DCM", "126010", "Imaging Measurements"))
    measurements.ContentSequence = list(groups)
    dataset.ContentSequence = [measurements]
    return with_meta(dataset)


def read(folder: Path, dataset: Dataset, onto: Volume, options: Options | None = None) -> LabelRead:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return read_bytes(folder, buffer.getvalue(), onto, options)


def refused(ask: Callable[[], object]) -> Reason:
    with pytest.raises(StudyRejected) as caught:
        ask()
    return caught.value.reason


LESION = judged(FINDING, ("SCT", "52988006", "Lesion"))


@pytest.mark.parametrize("kind", ["POLYLINE", "POLYGON"])
def test_a_rectangle_on_an_image_is_its_voxels_and_its_box(kind: str, tmp_path: Path) -> None:
    """In reports (0, 0) is the corner of the first pixel, not its centre."""
    onto = volume(SHAPE, (3.0, 0.9, 1.1), oblique(1))
    corners = np.array([(7, 5), (31, 5), (31, 21), (7, 21), (7, 5)], float)
    dataset = report(group(LESION, on_image("POLYLINE", corners, "1.2.3.1.1.5")))
    if kind == "POLYGON":
        placed = np.column_stack([np.full(4, 4.0), corners[:4, ::-1] - 0.5])
        dataset = report(group(LESION, in_patient(kind, onto.to_patient(placed))))
    found = read(tmp_path, dataset, onto)
    expected = np.zeros(SHAPE, np.uint8)
    expected[4, 5:21, 7:31] = 1
    assert np.array_equal(found.label_map([Wanted(number=1, name="lesion")]), expected)
    (one,) = found.boxes
    assert one.size == pytest.approx((3.0, 16 * 0.9, 24 * 1.1), rel=1e-5)
    middle = onto.to_patient(np.array([4.0, 12.5, 18.5]))
    assert one.centre == pytest.approx(middle.tolist(), abs=1e-3)


def test_an_ellipsoid_has_the_volume_of_its_formula(tmp_path: Path) -> None:
    onto = volume((80, 96, 88), (0.75, 0.45, 0.55), oblique(2))
    centre = onto.to_patient(np.array([39.3, 48.6, 42.2]))
    turn = oblique(9)
    halves = turn * np.array([14.0, 11.0, 8.0])
    ends = np.array([centre + sign * halves[:, axis] for axis in range(3) for sign in (-1, 1)])
    found = read(tmp_path, report(group(LESION, in_patient("ELLIPSOID", ends))), onto)
    (region,), (one,) = found.regions, found.boxes
    measured = region.voxels.sum() * onto.voxel_volume_ml * 1000
    assert measured == pytest.approx(4 / 3 * math.pi * 14 * 11 * 8, rel=3e-3)
    reach = np.sqrt(((onto.affine[:3, :3] / onto.spacing).T @ halves) ** 2 @ np.ones(3))
    assert one.size == pytest.approx((2 * reach).tolist(), rel=1e-4)


def test_circles_and_ellipses_have_the_area_of_their_formulas(tmp_path: Path) -> None:
    onto = volume((4, 200, 180), (2.0, 1.0, 1.0))
    around = np.array([(90.2, 100.7), (150.2, 100.7)])
    ends = np.array([(40.0, 100.0), (140.0, 100.0), (90.0, 70.0), (90.0, 130.0)])
    dataset = report(
        group(judged(FINDING, ("L", "1", "circle")), on_image("CIRCLE", around, "1.2.3.1.1.1")),
        group(judged(FINDING, ("L", "2", "ellipse")), on_image("ELLIPSE", ends, "1.2.3.1.1.2")),
    )
    circle, ellipse = (one.voxels.sum() for one in read(tmp_path, dataset, onto).regions)
    assert circle == pytest.approx(math.pi * 60**2, rel=2e-3)
    assert ellipse == pytest.approx(math.pi * 50 * 30, rel=2e-3)


def test_points_and_open_lines_enclose_nothing(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    dataset = report(
        group(LESION, on_image("POINT", np.array([[3.0, 4.0]]), "1.2.3.1.1.1")),
        group(LESION, on_image("POLYLINE", np.array([(1, 1), (9, 1), (9, 9)]), "1.2.3.1.1.1")),
    )
    found = read(tmp_path, dataset, onto)
    assert (found.regions, found.boxes) == ((), ())
    assert any("enclose nothing" in sentence for sentence in found.warnings)


def test_a_region_on_another_image_or_in_another_frame_is_a_mismatch(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    corners = np.column_stack([box((2, 2), (9, 9)), np.zeros(4)])
    for shape in (
        on_image("POLYLINE", np.array([(1, 1), (9, 1), (9, 9), (1, 1)]), "1.2.9"),
        in_patient("POLYGON", corners, "1.2.9"),
    ):
        dataset = report(group(LESION, shape))
        assert refused(lambda d=dataset: read(tmp_path, d, onto)) is (  # type: ignore[misc]
            Reason.LABEL_MISMATCH
        )


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("ELLIPSE", [1.0, 2.0, 3.0, 4.0]),
        ("POLYLINE", [1.0, 2.0, 3.0]),
        ("POLYLINE", [1.0, 2.0, math.nan, 4.0, 5.0, 6.0]),
        ("CIRCLE", [1.0, 2.0, math.inf, 4.0]),
    ],
)
def test_a_shape_without_its_points_is_invalid(
    kind: str, numbers: list[float], tmp_path: Path
) -> None:
    dataset = report(group(LESION, on_image(kind, np.array(numbers), "1.2.3.1.1.1")))
    assert refused(lambda: read(tmp_path, dataset, volume(SHAPE))) is Reason.LABEL_INVALID


def test_a_report_nested_too_deep_or_too_long_is_invalid(tmp_path: Path) -> None:
    deep = content("CONTAINER", REGION)
    for _ in range(40):
        outer = content("CONTAINER", REGION)
        outer.ContentSequence = [deep]
        deep = outer
    onto = volume(SHAPE)
    assert refused(lambda: read(tmp_path, report(deep), onto)) is Reason.LABEL_INVALID
    long = report(*(group(LESION) for _ in range(9)))
    limits = Options(limits=LabelLimits(items=8))
    assert refused(lambda: read(tmp_path, long, onto, limits)) is Reason.LABEL_INVALID


def test_judgements_are_classes_by_answer_or_by_yes(tmp_path: Path) -> None:
    yes, no = ("SCT", "373066001", "Yes"), ("SCT", "373067005", "No")
    severity = ("SCT", "246112005", "Severity")
    dataset = report(
        group(judged(severity, ("SCT", "24484000", "Severe"))),
        group(judged(("SCT", "60046008", "Pleural effusion"), yes)),
        group(judged(("SCT", "36118008", "Pneumothorax"), no)),
    )
    names = ("Severe", "pleural effusion", "pneumothorax", "mild")
    wanted = [Wanted(number=number, name=name) for number, name in enumerate(names)]
    found = read(tmp_path, dataset, volume(SHAPE))
    assert [label.name for label in found.classes(wanted)] == ["Severe", "pleural effusion"]


def detections(onto: Volume) -> list[Detection]:
    rng = np.random.default_rng(1)
    found = []
    for number in range(5):
        low = rng.uniform(0, 3, 3)
        high = low + rng.uniform(0.4, 1.6, 3) * (1, 8, 8)
        middle = onto.to_patient((low + high) / 2 - 0.5)
        size = (high - low) * onto.spacing
        found.append(
            Detection(
                label="nodule" if number % 2 else "odd thing",
                score=0.5,
                index_box=(*low.tolist(), *high.tolist()),  # type: ignore[arg-type]
                centre=tuple(middle.tolist()),  # type: ignore[arg-type]
                size=tuple(size.tolist()),  # type: ignore[arg-type]
                code=NODULE if number % 2 else None,
            )
        )
    return found


def test_our_own_boxes_come_back_as_they_were(tmp_path: Path) -> None:
    onto = on_disk(chest(replace(SMALL, rotation=(15.0, -10.0, 25.0))), tmp_path / "series")
    written = detections(onto)
    found = read_bytes(tmp_path, write_sr(onto, written, PROVENANCE, segmentation=None), onto)
    wanted = [Wanted(number=0, name="nodule", code=NODULE), Wanted(number=1, name="odd thing")]
    pairs = found.labelled_boxes(wanted)
    assert [label.name for label, _ in pairs] == [one.label for one in written]
    for (_, one), detection in zip(pairs, written, strict=True):
        assert one.centre == pytest.approx(detection.centre, abs=1e-4)
        assert one.size == pytest.approx(detection.size, abs=1e-4)


def test_our_own_segments_come_back_from_the_segmentation_they_name(tmp_path: Path) -> None:
    onto = on_disk(chest(SMALL), tmp_path / "series")
    label_map = np.random.default_rng(0).integers(0, 3, SMALL.shape).astype(np.uint8)
    segments = [segment(1, "One"), segment(2, "Two", NODULE)]
    seg = write_seg(onto, label_map, segments, PROVENANCE)
    reference = reference_to(seg, segments, PROVENANCE)
    report = write_sr(onto, segments, PROVENANCE, segmentation=reference)
    found = read_bytes(tmp_path, [report, seg], onto)
    wanted = [Wanted(number=1, name="One"), Wanted(number=2, name="x", code=NODULE)]
    assert np.array_equal(found.label_map(wanted), label_map)
    assert len(found.boxes) == 2
    alone = tmp_path / "alone"
    alone.mkdir()
    assert refused(lambda: read_bytes(alone, report, onto)) is Reason.LABEL_MISMATCH


def test_our_own_classes_come_back(tmp_path: Path) -> None:
    onto = on_disk(chest(SMALL), tmp_path / "series")
    said = [
        Classification(label="normal", score=0.2),
        Classification(label="lesion", score=0.8, code=NODULE, is_top=True),
    ]
    found = read_bytes(tmp_path, write_sr(onto, said, PROVENANCE, segmentation=None), onto)
    wanted = [Wanted(number=0, name="normal"), Wanted(number=1, name="lesion", code=NODULE)]
    assert found.classes(wanted) == [wanted[1]]


def test_a_report_about_other_images_is_a_mismatch(tmp_path: Path) -> None:
    onto = on_disk(chest(SMALL), tmp_path / "series")
    data = write_sr(onto, [Classification(label="x", score=1.0)], PROVENANCE, segmentation=None)
    assert refused(lambda: read_bytes(tmp_path, data, volume(SMALL.shape))) is (
        Reason.LABEL_MISMATCH
    )


def test_an_image_without_a_place_takes_judgements_but_no_places(tmp_path: Path) -> None:
    flat = Image(pixels=np.zeros((1, 8, 8), np.float32), header=volume((1, 8, 8)).header)
    buffer = io.BytesIO()
    severe = judged(("SCT", "246112005", "Severity"), ("SCT", "24484000", "Severe"))
    pydicom.dcmwrite(buffer, report(group(severe)), enforce_file_format=True)
    found = read_bytes(tmp_path, buffer.getvalue(), flat)
    assert found.evaluations[0].value == "Severe"
    corners = np.column_stack([box((2, 2), (9, 9)), np.zeros(4)])
    placed, buffer = report(group(LESION, in_patient("POLYGON", corners))), io.BytesIO()
    pydicom.dcmwrite(buffer, placed, enforce_file_format=True)
    assert refused(lambda: read_bytes(tmp_path, buffer.getvalue(), flat)) is Reason.LABEL_MISMATCH
