"""Structure sets: drawn bodies have the volume of their formulas, at any orientation."""

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

from pipeline.dicom.labels.label_read import LabelRead, Region, Wanted
from pipeline.dicom.labels.limits import LabelLimits
from pipeline.dicom.labels.options import Options
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Volume
from tests.pipeline.dicom.labels.made_labels import (
    AXIAL,
    CT,
    SAGITTAL,
    box,
    circle,
    contour,
    oblique,
    on_slice,
    read_bytes,
    read_file,
    structure_set,
    volume,
)
from tests.pipeline.dicom.made_series import put_raw

SHAPE = (12, 48, 40)
ORIENTATIONS = [AXIAL, SAGITTAL, oblique(1), oblique(2), oblique(3)]


def read(folder: Path, dataset: Dataset, onto: Volume, options: Options | None = None) -> LabelRead:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return read_bytes(folder, buffer.getvalue(), onto, options)


def only(found: LabelRead) -> Region:
    (region,) = found.regions
    return region


def refused(folder: Path, dataset: Dataset, onto: Volume) -> Reason:
    with pytest.raises(StudyRejected) as caught:
        read(folder, dataset, onto)
    return caught.value.reason


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("direction", [1, -1])
def test_a_box_is_its_voxels_at_any_orientation(
    axes: NDArray[np.float64], direction: int, tmp_path: Path
) -> None:
    onto = volume(SHAPE, (3.0, 0.9, 1.1), axes)
    drawn = box((4.5, 6.5), (20.5, 30.5))[::direction]
    contours = [on_slice(onto, place, drawn) for place in range(3, 9)]
    found = read(tmp_path, structure_set({"box": contours}), onto)
    expected = np.zeros(SHAPE, np.bool_)
    expected[3:9, 5:21, 7:31] = True
    assert np.array_equal(only(found).mask(SHAPE), expected)
    assert found.warnings == ()


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_a_drawn_cylinder_has_the_volume_of_its_formula(
    axes: NDArray[np.float64], tmp_path: Path
) -> None:
    onto = volume((12, 120, 100), (2.0, 0.5, 0.5), axes)
    drawn = circle((60.2, 48.7), 35.0)
    contours = [on_slice(onto, place, drawn) for place in range(2, 10)]
    region = only(read(tmp_path, structure_set({"rod": contours}), onto))
    measured = region.voxels.sum() * onto.voxel_volume_ml * 1000
    assert measured == pytest.approx(math.pi * 17.5**2 * 16.0, rel=3e-3)
    middle = np.argwhere(region.mask(onto.stored.shape)).mean(axis=0)
    assert middle == pytest.approx([5.5, 60.2, 48.7], abs=0.05)


def test_a_drawn_sphere_has_the_volume_of_its_formula(tmp_path: Path) -> None:
    onto = volume((60, 60, 60), (1.0, 1.0, 1.0), oblique(4))
    centre, radius = np.array([29.6, 30.3, 28.9]), 22.4
    contours = [
        on_slice(onto, place, circle(centre[1:], math.sqrt(radius**2 - (place - centre[0]) ** 2)))
        for place in range(60)
        if abs(place - centre[0]) < radius
    ]
    region = only(read(tmp_path, structure_set({"ball": contours}), onto))
    assert region.voxels.sum() == pytest.approx(4 / 3 * math.pi * radius**3, rel=2e-3)
    away = np.linalg.norm(np.argwhere(region.mask((60, 60, 60))) - centre, axis=1)
    assert away.max() <= radius + 1e-3


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("direction", [1, -1])
def test_holes_are_holes_drawn_either_way(
    axes: NDArray[np.float64], direction: int, tmp_path: Path
) -> None:
    onto = volume(SHAPE, (3.0, 0.9, 1.1), axes)
    outer, inner = circle((24.1, 20.2), 17.3), circle((22.0, 21.0), 6.2)[::direction]
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    apart = [on_slice(onto, place, ring) for place in range(2, 8) for ring in (outer, inner)]
    joined = [on_slice(onto, place, keyhole) for place in range(2, 8)]
    found = read(tmp_path, structure_set({"apart": apart, "joined": joined}), onto)
    one, other = (region.mask(SHAPE) for region in found.regions)
    rows, columns = np.indices(SHAPE[1:])
    expected = (np.hypot(rows - 24.1, columns - 20.2) < 17.3) & (
        np.hypot(rows - 22.0, columns - 21.0) > 6.2
    )
    assert np.array_equal(one, other)
    assert (one[4] != expected).sum() <= 2  # a circle of 360 corners is no circle
    assert not one[4, 22, 21]


def test_several_contours_of_a_slice_are_one_region(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    parts = [box((2.5, 2.5), (6.5, 6.5)), box((10.5, 10.5), (20.5, 12.5))]
    dataset = structure_set({"two": [on_slice(onto, 5, part) for part in parts]})
    assert only(read(tmp_path, dataset, onto)).voxels.sum() == 16 + 20


def test_contours_that_overlap_in_part_are_told(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    parts = [box((2.5, 2.5), (9.5, 9.5)), box((6.5, 6.5), (20.5, 12.5))]
    dataset = structure_set({"two": [on_slice(onto, 5, part) for part in parts]})
    assert any("overlap" in sentence for sentence in read(tmp_path, dataset, onto).warnings)


@pytest.mark.parametrize("place", [3.5, 3.2, -1.0, 12.0])
def test_contours_off_the_slices_are_a_mismatch(place: float, tmp_path: Path) -> None:
    onto = volume(SHAPE)
    dataset = structure_set({"x": [on_slice(onto, place, box((2, 2), (9, 9)))]})
    assert refused(tmp_path, dataset, onto) is Reason.LABEL_MISMATCH


def test_contours_across_the_slices_are_a_mismatch(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    index = np.array([(2, 10, 5), (8, 10, 5), (8, 10, 20), (2, 10, 20)], float)
    dataset = structure_set({"x": [onto.to_patient(index)]})
    assert refused(tmp_path, dataset, onto) is Reason.LABEL_MISMATCH


def test_positions_cut_to_two_decimals_still_lie_on_their_slice(tmp_path: Path) -> None:
    onto = volume(SHAPE, (1.25, 0.7, 0.7), oblique(5))
    points = np.round(on_slice(onto, 4, box((4.5, 6.5), (20.5, 30.5))), 2)
    assert only(read(tmp_path, structure_set({"x": [points]}), onto)).voxels.sum() == 16 * 24


def test_points_and_open_contours_are_left_out_with_a_word(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    dataset = structure_set({"x": [on_slice(onto, 4, box((4.5, 6.5), (20.5, 30.5)))]})
    sequence = dataset.ROIContourSequence[0].ContourSequence
    sequence.append(contour(on_slice(onto, 5, np.array([[3.0, 3.0]])), "POINT"))
    sequence.append(contour(on_slice(onto, 5, box((1, 1), (9, 9))), "OPEN_PLANAR"))
    found = read(tmp_path, dataset, onto)
    assert only(found).voxels.sum() == 16 * 24
    assert any("enclose nothing" in sentence for sentence in found.warnings)


def test_slices_left_out_between_contours_are_told(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    drawn = [on_slice(onto, place, box((2.5, 2.5), (9.5, 9.5))) for place in (2, 4, 6)]
    found = read(tmp_path, structure_set({"x": drawn}), onto)
    assert only(found).voxels.sum() == 3 * 49
    assert any("stay empty" in sentence for sentence in found.warnings)


def test_another_frame_of_reference_is_a_mismatch(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    drawn = {"x": [on_slice(onto, 4, box((2, 2), (9, 9)))]}
    dataset = structure_set(drawn, frame_of_reference="1.2.3.4.5")
    assert refused(tmp_path, dataset, onto) is Reason.LABEL_MISMATCH


def test_only_regions_that_are_wanted_are_checked(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    dataset = structure_set(
        {
            "Lung_L": [on_slice(onto, 4, box((2.5, 2.5), (9.5, 9.5)))],
            "isocentre": [on_slice(onto, 4.5, box((2, 2), (9, 9)))],
        }
    )
    wanted = (Wanted(number=3, name="lung l"),)
    found = read(tmp_path, dataset, onto, Options(wanted=wanted))
    assert (found.label_map(wanted) == 3).sum() == 49


def test_a_contour_that_names_another_slice_is_a_mismatch(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    dataset = structure_set({"x": [on_slice(onto, 4, box((2.5, 2.5), (9.5, 9.5)))]})
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CT, "1.2.3.1.1.5"
    dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [image]
    assert only(read(tmp_path, dataset, onto)).voxels.sum() == 49
    image.ReferencedSOPInstanceUID = "1.2.3.1.1.6"
    assert refused(tmp_path, dataset, onto) is Reason.LABEL_MISMATCH


def test_a_region_without_contours_is_there_and_empty(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    found = read(tmp_path, structure_set({"x": []}), onto)
    assert not found.label_map([Wanted(number=1, name="X")]).any()


@pytest.mark.parametrize(
    "value",
    [
        b"1\\2\\3\\4\\5\\6\\7\\8",
        b"1\\2\\3\\x\\5\\6\\7\\8\\9",
        b"1\\2\\nan\\4\\5\\6\\7\\8\\9",
        b"1e300\\2\\3\\4\\5\\6\\7\\8\\9",
    ],
)
def test_contours_of_anything_but_points_are_invalid(value: bytes, tmp_path: Path) -> None:
    onto = volume(SHAPE)
    dataset = structure_set({"x": [on_slice(onto, 4, box((2, 2), (9, 9)))]})
    item = dataset.ROIContourSequence[0].ContourSequence[0]
    del item.NumberOfContourPoints
    put_raw(item, "ContourData", "DS", value)
    assert refused(tmp_path, dataset, onto) is Reason.LABEL_INVALID


def test_more_points_than_stated_are_invalid(tmp_path: Path) -> None:
    onto = volume(SHAPE)
    dataset = structure_set({"x": [on_slice(onto, 4, box((2, 2), (9, 9)))]})
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 3
    assert refused(tmp_path, dataset, onto) is Reason.LABEL_INVALID


@pytest.mark.parametrize("limits", [LabelLimits(contours=4), LabelLimits(points=19)])
def test_more_contours_or_points_than_allowed_are_invalid(
    limits: LabelLimits, tmp_path: Path
) -> None:
    onto = volume(SHAPE)
    drawn = [on_slice(onto, place, box((2, 2), (9, 9))) for place in range(5)]
    dataset = structure_set({"x": drawn})
    with pytest.raises(StudyRejected) as caught:
        read(tmp_path, dataset, onto, Options(limits=limits))
    assert caught.value.reason is Reason.LABEL_INVALID


def test_a_volume_that_states_no_frame_of_reference_takes_labels_with_a_word(
    tmp_path: Path,
) -> None:
    onto = volume(SHAPE)
    dataset = structure_set({"x": [on_slice(onto, 4, box((2.5, 2.5), (9.5, 9.5)))]})
    found = read(tmp_path, dataset, replace(onto, header=None))
    assert only(found).voxels.sum() == 49
    assert len(found.warnings) == 1


def drop_rois(dataset: Dataset) -> None:
    del dataset.StructureSetROISequence


def repeat_number(dataset: Dataset) -> None:
    dataset.StructureSetROISequence.append(dataset.StructureSetROISequence[0])


@pytest.mark.parametrize("change", [drop_rois, repeat_number])
def test_a_structure_set_that_contradicts_itself_is_invalid(
    change: Callable[[Dataset], None], tmp_path: Path
) -> None:
    onto = volume(SHAPE)
    dataset = structure_set({"x": [on_slice(onto, 4, box((2, 2), (9, 9)))]})
    change(dataset)
    assert refused(tmp_path, dataset, onto) is Reason.LABEL_INVALID


def test_pydicoms_own_structure_set_is_of_another_image() -> None:
    """It begins without a preamble, as old ones do."""
    path = Path(pydicom.data.get_testdata_file("rtstruct.dcm", download=False) or "")
    with pytest.raises(StudyRejected) as caught:
        read_file(path, volume(SHAPE))
    assert caught.value.reason is Reason.LABEL_MISMATCH
