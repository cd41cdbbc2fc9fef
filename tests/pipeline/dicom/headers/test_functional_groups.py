from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from pipeline.dicom.headers.functional_groups import places_of
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series
from tests.pipeline.dicom.series import made_frames as made


def test_shared_and_own_groups_together_place_every_frame() -> None:
    turned = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    places = places_of(
        made.enhanced([*made.line(2), made.Place(value=2, position=(1, 2, 3), orientation=turned)])
    )
    assert places is not None
    assert [one.position for one in places] == [(10, 20, 30), (10, 20, 35), (1, 2, 3)]
    assert [one.orientation for one in places] == [made.AXIAL, made.AXIAL, turned]
    assert {one.pixel_spacing for one in places} == {(2.0, 0.5)}
    assert {(one.slope, one.intercept, one.rescale_type) for one in places} == {(1, -1024, "HU")}
    assert {one.slice_thickness for one in places} == {7.0}
    assert {one.image_type for one in places} == {("ORIGINAL", "PRIMARY", "VOLUME", "NONE")}


def test_what_tells_frames_apart_is_read_from_its_macro() -> None:
    group = {
        "MREchoSequence": {"EffectiveEchoTime": 2.46},
        "MRDiffusionSequence": {"DiffusionBValue": 1000.0, "DiffusionDirectionality": "ISOTROPIC"},
        "CardiacSynchronizationSequence": {"NominalPercentageOfCardiacPhase": 75.0},
        "TemporalPositionSequence": {"TemporalPositionTimeOffset": 12.5},
        "FrameContentSequence": {"StackID": "1", "TemporalPositionIndex": 3},
        "UnassignedPerFrameConvertedAttributesSequence": {"EchoNumbers": 2, "TriggerTime": 40},
    }
    places = places_of(made.enhanced(made.line(1, macros=group), modality="MR"))
    assert places is not None
    assert dict(places[0].phases) == {
        "StackID": "1",
        "EchoNumbers": "2",
        "EffectiveEchoTime": "2.46",
        "DiffusionBValue": "1000.0",
        "DiffusionDirectionality": "ISOTROPIC",
        "TemporalPositionIndex": "3",
        "TemporalPositionTimeOffset": "12.5",
        "NominalPercentageOfCardiacPhase": "75.0",
        "TriggerTime": "40.0",
    }


def test_the_direction_of_a_diffusion_gradient_is_read() -> None:
    dataset = made.enhanced(made.line(1), modality="MR")
    group = dataset.PerFrameFunctionalGroupsSequence[0]
    made.macro(group, "MRDiffusionSequence", DiffusionBValue=1000.0)
    made.macro(
        group.MRDiffusionSequence[0],
        "DiffusionGradientDirectionSequence",
        DiffusionGradientOrientation=[0.0, 0.6, 0.8],
    )
    places = places_of(dataset)
    assert places is not None
    assert dict(places[0].phases)["DiffusionGradientOrientation"] == "0.0\\0.6\\0.8"


def test_dimensions_that_are_not_spatial_tell_frames_apart() -> None:
    macros = {"FrameContentSequence": {"DimensionIndexValues": [1, 7, 4]}}
    dataset = made.enhanced(made.line(1, macros=macros))
    pointers = [0x00209056, 0x00209057, 0x00189087]  # StackID, InStackPositionNumber, b-value
    dataset.DimensionIndexSequence = Items([Dataset() for _ in pointers])
    for item, pointer in zip(dataset.DimensionIndexSequence, pointers, strict=True):
        item.DimensionIndexPointer = pointer
    places = places_of(dataset)
    assert places is not None
    assert dict(places[0].phases)["DimensionIndexValues"] == "1\\4"


@pytest.mark.parametrize("groups", [2, 4])
def test_another_number_of_groups_than_of_frames_is_refused(groups: int) -> None:
    dataset = made.enhanced(made.line(groups))
    dataset.NumberOfFrames = 3
    with pytest.raises(FileRefused) as refused:
        places_of(dataset)
    assert refused.value.reason is Reason.FILE_BAD_HEADER


def test_numbers_that_are_none_are_nan_and_absent_ones_none() -> None:
    dataset = made.enhanced(made.line(3), slope=None)
    first, second, third = dataset.PerFrameFunctionalGroupsSequence
    made_series.put_raw(first.PlanePositionSequence[0], "ImagePositionPatient", "DS", b"1\\x\\3")
    made_series.put_raw(second.PlanePositionSequence[0], "ImagePositionPatient", "DS", b"1\\2")
    del third.PlanePositionSequence
    places = places_of(dataset)
    assert places is not None
    assert all(math.isnan(places[0].position[axis]) == (axis == 1) for axis in range(3))  # type: ignore[index]
    assert all(math.isnan(value) for value in places[1].position or ())
    assert places[2].position is None
    assert places[2].slope is None


def test_objects_without_groups_or_without_anything_in_them_have_no_places() -> None:
    assert places_of(made_series.instance(0)) is None
    empty = made_series.instance(0)
    empty.NumberOfFrames = 2
    empty.PerFrameFunctionalGroupsSequence = Items([Dataset(), Dataset()])
    assert places_of(empty) is None


def test_what_is_no_sequence_is_no_group() -> None:
    dataset = made_series.instance(0)
    made_series.put_raw(dataset, "SharedFunctionalGroupsSequence", "SQ", b"abcdefgh")
    made_series.put_raw(dataset, "PerFrameFunctionalGroupsSequence", "UN", b"\0\1")
    assert places_of(dataset) is None


def test_the_header_reader_finds_places_and_pieces(tmp_path: Path) -> None:
    dataset = made.enhanced(made.line(4))
    dataset.ConcatenationUID = "1.2.3"
    header = made.header_of(tmp_path, dataset)
    assert header.is_concatenated
    assert header.places is not None
    assert len(header.places) == header.frames == 4
