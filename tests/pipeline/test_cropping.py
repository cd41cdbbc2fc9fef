"""What is answered in a part lies in the whole where it is in the patient."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pipeline.cropping import Box, Part, box_around, mask_of
from pipeline.models import measures
from pipeline.models.spec import Label
from pipeline.results import DerivedImage, Detection, Prediction, Segment, ValueMap
from pipeline.volume import Regridding, Volume
from tests.pipeline.models import tiny

LABELS = (Label(number=1, name="dim"), Label(number=2, name="bright"))


def volume_on(seed: int) -> Volume:
    """Return noise on a grid that is turned, mirrored, moved and scaled at random."""
    random = np.random.default_rng(seed)
    steps = Rotation.random(random_state=random).as_matrix() * random.uniform(0.3, 4.0, 3)
    steps[:, 1] *= random.choice([-1, 1])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, random.uniform(-500, 500, 3)
    shape = tuple(random.integers(3, 14, 3))
    return Volume(stored=random.integers(0, 1000, shape).astype(np.int16), affine=affine)


def threshold(volume: Volume) -> Prediction:
    """Answer voxel by voxel, with everything that a model can answer on a grid."""
    label_map = np.digitize(volume.stored, (400, 800)).astype(np.uint8)
    places = np.argwhere(label_map == 2)
    boxes: tuple[Detection, ...] = ()
    if len(places):
        first, last = places.min(axis=0), places.max(axis=0) + 1
        centre = volume.to_patient((first + last - 1) / 2)
        size = tuple(float(one) for one in (last - first) * volume.spacing)
        boxes = (
            Detection(
                label="bright",
                score=0.5,
                index_box=tuple(map(float, (*first, *last))),  # type: ignore[arg-type]
                centre=tuple(map(float, centre)),  # type: ignore[arg-type]
                size=size,  # type: ignore[arg-type]
            ),
        )
    return Prediction(
        findings=(*measures.segments(label_map, volume, LABELS), *boxes),
        label_map=label_map,
        maps=(ValueMap(name="twice", values=volume.values() * 2),),
        derived=(DerivedImage(name="less", values=volume.values() - 1, affine=volume.affine),),
    )


def random_box(volume: Volume, seed: int) -> Box:
    random = np.random.default_rng(seed)
    ends = [np.sort(random.choice(n + 1, 2, replace=False)) for n in volume.stored.shape]
    start, stop = zip(*((int(a), int(b)) for a, b in ends), strict=True)
    return Box(start=start, stop=stop)


@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_a_part_answers_as_the_whole_does_within_the_box(grid: int, seed: int) -> None:
    volume = volume_on(grid)
    part = Part(whole=volume, box=random_box(volume, seed))
    inside = part.box.parts
    pasted, whole = part.paste(threshold(part.cut())), threshold(volume)
    assert pasted.label_map is not None
    assert whole.label_map is not None
    expected = np.zeros_like(whole.label_map)
    expected[inside] = whole.label_map[inside]
    np.testing.assert_array_equal(pasted.label_map, expected)
    (made,), (truth,) = pasted.maps, whole.maps
    np.testing.assert_array_equal(made.values[inside], truth.values[inside])
    assert np.count_nonzero(made.values) == np.count_nonzero(truth.values[inside])
    (less,) = pasted.derived
    np.testing.assert_array_equal(less.values[inside], volume.values()[inside] - 1)
    less.values[inside] += 1
    np.testing.assert_array_equal(less.values, volume.values())


@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_places_in_the_patient_are_those_on_the_whole_grid(grid: int, seed: int) -> None:
    volume = volume_on(grid)
    part = Part(whole=volume, box=random_box(volume, seed))
    pasted = part.paste(threshold(part.cut()))
    assert pasted.label_map is not None
    again = measures.segments(pasted.label_map, volume, LABELS)
    found = [one for one in pasted.findings if isinstance(one, Segment)]
    for one, other in zip(found, again, strict=True):
        assert one.voxels == other.voxels
        assert one.volume_ml == pytest.approx(other.volume_ml)
        if other.centroid is not None:
            assert one.centroid == pytest.approx(other.centroid, abs=1e-9)
    for box in pasted.findings:
        if isinstance(box, Detection):
            index = np.reshape(box.index_box, (2, 3))
            middle = volume.to_patient((index.sum(axis=0) - 1) / 2)
            assert box.centre == pytest.approx(tuple(middle), abs=1e-9)


def test_a_cut_is_a_valid_volume_of_the_slices_it_has() -> None:
    volume = tiny.volume(header=tiny.header("CT"), warnings=("odd",))
    cut = Part(whole=volume, box=Box(start=(3, 4, 5), stop=(7, 9, 12))).cut()
    assert cut.stored.shape == (4, 5, 7)
    assert cut.stored.flags.c_contiguous
    assert cut.affine[:3, 3] == pytest.approx(volume.to_patient(np.array([3.0, 4, 5])))
    assert cut.header is not None
    assert volume.header is not None
    assert cut.header.instances == volume.header.instances[3:7]
    assert (cut.unit, cut.warnings) == ("HU", ("odd",))


def test_a_cut_of_a_filled_stack_takes_the_nearest_slices_of_the_source() -> None:
    way = Regridding(shape=(3, 20, 18), slices=(0, 3, 5), shifts=((0.0, 0.0),) * 3)
    volume = tiny.volume((6, 20, 18), header=tiny.header("CT", 3), regridding=way)
    cut = Part(whole=volume, box=Box(start=(1, 0, 0), stop=(6, 20, 18))).cut()
    assert cut.header is not None
    assert [int(i.sop_instance_uid[-1]) for i in cut.header.instances] == [0, 1, 1, 1, 2]


def mask(*voxels: tuple[int, int, int]) -> NDArray[np.bool_]:
    made = np.zeros((12, 20, 18), np.bool_)
    made[tuple(np.transpose(voxels))] = True
    return made


def test_a_margin_is_in_millimetres_and_whole_voxels() -> None:
    # voxels of 2.5 x 1.1 x 0.9 mm
    found = box_around(mask((5, 10, 9)), tiny.volume(), margin_mm=2.5, minimum_voxels=1)
    assert found == Box(start=(4, 7, 6), stop=(7, 14, 13))


def test_a_box_ends_where_the_grid_ends() -> None:
    corners = mask((0, 0, 0), (11, 19, 17))
    found = box_around(corners, tiny.volume(), margin_mm=100, minimum_voxels=64)
    assert found == Box(start=(0, 0, 0), stop=(12, 20, 18))


@pytest.mark.parametrize(
    ("voxel", "start", "stop"),
    [
        ((0, 10, 17), (0, 6, 10), (8, 14, 18)),
        ((11, 0, 9), (4, 0, 5), (12, 8, 13)),
    ],
)
def test_a_small_box_grows_inwards_from_the_edge(
    voxel: tuple[int, int, int], start: tuple[int, int, int], stop: tuple[int, int, int]
) -> None:
    found = box_around(mask(voxel), tiny.volume(), margin_mm=0, minimum_voxels=8)
    assert found is not None
    assert found.shape == (8, 8, 8)
    inside = mask(voxel)[found.parts]
    assert inside.any()
    assert abs(np.array(found.start) - start).max() <= 1
    assert abs(np.array(found.stop) - stop).max() <= 1


def test_an_empty_mask_has_no_box() -> None:
    empty = np.zeros((12, 20, 18), np.bool_)
    assert box_around(empty, tiny.volume(), margin_mm=1, minimum_voxels=1) is None


def test_a_mask_is_of_the_segments_asked_for() -> None:
    made = threshold(tiny.volume(stored=np.full((3, 3, 3), 500, np.int16)))
    assert mask_of(made, None).all()
    assert mask_of(made, ["dim"]).all()
    assert not mask_of(made, ["bright"]).any()
    with pytest.raises(LookupError, match="no segment liver"):
        mask_of(made, ["liver"])
    with pytest.raises(LookupError, match="no mask"):
        mask_of(dataclasses.replace(made, label_map=None), None)


def test_a_finer_image_stays_on_its_own_grid() -> None:
    volume = tiny.volume()
    part = Part(whole=volume, box=Box(start=(0, 0, 0), stop=(2, 2, 2)))
    finer = DerivedImage(name="finer", values=np.ones((4, 4, 4), np.float32), affine=np.eye(4))
    (kept,) = part.paste(Prediction(findings=(), derived=(finer,))).derived
    assert kept is finer


def test_a_report_says_the_box_in_voxels_and_in_the_patient() -> None:
    part = Part(whole=tiny.volume(), box=Box(start=(1, 2, 3), stop=(3, 4, 13)))
    assert part.report() == {
        "box": [1, 2, 3, 3, 4, 13],
        "first_mm": [-27.3, 16.2, 252.5],
        "size_mm": [5.0, 2.2, 9.0],
    }
