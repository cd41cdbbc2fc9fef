"""Steps that move voxels: what is where in the patient stays there, and finds its way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import ModelMismatch
from pipeline.models import measures
from pipeline.models.spec import Label
from pipeline.results import DerivedImage, Detection, Prediction, Segment, ValueMap
from pipeline.volume import Regridding, Volume
from tests.pipeline.models import tiny
from tests.pipeline.preprocess import inputs
from tests.pipeline.preprocess.inputs import run, values

LABELS = (Label(number=1, name="thing"),)
#: steps that take voxels as they are
EXACT: list[dict[str, Any]] = [
    {"crop": {"size": [7, 11, 9]}},
    {"crop": {"size_mm": [20, 12.5, 6]}},
    {"crop": {"above": 10, "margin_mm": 2}},
    {"pad": {"size": [9, 40, 31]}},
    {"pad": {"margin_mm": 3.3, "value": -1000}},
    {"orient": {"to": "RAS"}},
    {"orient": {"to": "SPL"}},
    {"orient": {"to": "PIR"}},
]


def marked(place: tuple[int, int, int] = (4, 8, 7)) -> Volume:
    """Return a volume in which one voxel is bright."""
    stored = np.zeros((9, 17, 15), np.int16)
    stored[place] = 100
    return inputs.volume(stored)


def oblique(volume: Volume) -> Volume:
    """Return it turned in the patient about all three axes."""
    angles = np.radians((20.0, -13.0, 31.0))
    turned = np.eye(4)
    for axis, angle in enumerate(angles):
        a, b = (one for one in range(3) if one != axis)
        turn = np.eye(4)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turned = turned @ turn
    return replace(volume, affine=turned @ volume.affine)


def brightest(volume: Volume) -> NDArray[np.float64]:
    """Return where the middle of what is bright lies, LPS mm."""
    bright = volume.values()
    index = np.argwhere(bright == bright.max())
    return volume.to_patient(index.astype(np.float64)).mean(axis=0)


@pytest.mark.parametrize("turn", [lambda one: one, oblique], ids=["axial", "oblique"])
@pytest.mark.parametrize("step", EXACT, ids=str)
def test_a_moved_voxel_keeps_its_place_in_the_patient(step: dict[str, Any], turn: Any) -> None:
    source = turn(marked())
    made = run(source, step).image
    assert isinstance(made, Volume)
    assert (made.values() == 100).sum() == 1
    assert np.abs(brightest(made) - brightest(source)).max() < 1e-6
    assert made.stored.dtype == np.int16


@pytest.mark.parametrize(
    "step",
    [
        {"resize": {"size": [27, 51, 45]}},
        {"resize": {"size": [9, 17, 45], "interpolation": "nearest"}},
        {"resample": {"spacing_mm": [0.5, 0.2, 0.1], "interpolation": "nearest"}},
    ],
    ids=str,
)
def test_a_voxel_that_is_divided_oddly_keeps_its_middle(step: dict[str, Any]) -> None:
    source = oblique(marked())
    made = run(source, step).image
    assert isinstance(made, Volume)
    assert np.abs(brightest(made) - brightest(source)).max() < 1e-6


@pytest.mark.parametrize("spacing", [0.7, 1.0, 3.3, [5.0, 1.0, 0.5], [0.9, 4.0, 4.0]])
def test_a_gradient_in_the_patient_is_the_same_after_resampling(spacing: Any) -> None:
    index = np.indices((9, 17, 15)).reshape(3, -1).T.astype(np.float64)
    source = oblique(inputs.volume(np.zeros((9, 17, 15), np.float32)))
    slope = np.array([0.3, -0.2, 0.7])
    ramp = (source.to_patient(index) @ slope).reshape(9, 17, 15)
    made = run(
        replace(source, stored=ramp.astype(np.float32)), {"resample": {"spacing_mm": spacing}}
    )
    assert isinstance(made.image, Volume)
    assert np.allclose(made.image.spacing, spacing)
    there = np.indices(made.image.stored.shape).reshape(3, -1).T.astype(np.float64)
    expected = (made.image.to_patient(there) @ slope).reshape(made.image.stored.shape)
    # beyond the centres of the outermost voxels their values hold
    on_source = there @ made.matrix[:3, :3].T + made.matrix[:3, 3]
    inside = ((on_source >= 0) & (on_source <= np.array([8, 16, 14]))).all(axis=1)
    assert inside.sum() > 30
    wrong = np.abs(made.image.values() - expected).reshape(-1)[inside]
    assert wrong.max() < 1e-4


def test_resampled_voxels_cover_the_field_of_view_about_its_middle() -> None:
    made = run(marked(), {"resample": {"spacing_mm": 4}})
    # 9 x 2.5, 17 x 1 and 15 x 0.5 mm
    assert made.image.stored.shape == (6, 5, 2)  # type: ignore[union-attr]
    ends = np.array([[-0.5] * 3, [5.5, 4.5, 1.5]])
    on_source = ends @ made.matrix[:3, :3].T + made.matrix[:3, 3]
    assert np.allclose(on_source.mean(axis=0), (4, 8, 7))


def test_a_box_is_the_same_box_after_a_crop() -> None:
    stored = np.full((12, 20, 18), -1000, np.int16)
    stored[3:7, 5:12, 6:16] = 40
    source = inputs.volume(stored)
    made = run(source, {"crop": {"above": -500, "margin_mm": 1}})
    assert made.steps[0]["found"]["box"] == [2, 4, 4, 8, 13, 18]
    mask = (values(made) == 40).astype(np.uint8)
    findings = measures.segments(mask, made.image, LABELS)
    said = made.back(Prediction(findings=findings, label_map=mask))
    np.testing.assert_array_equal(said.label_map, stored == 40)
    assert said.findings == measures.segments((stored == 40).view(np.uint8), source, LABELS)


def test_nothing_above_a_value_leaves_the_whole_and_says_so() -> None:
    made = run(marked(), {"crop": {"above": 900}})
    assert made.is_same_grid
    assert made.warnings == ("nothing of the image is above 900, so it was not cropped to it",)


@st.composite
def chains(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw up to five geometric steps, each with sizes that a small volume can have."""
    count = st.integers(1, 24)
    mm = st.floats(0.4, 8.0)
    three = st.tuples(count, count, count)
    one = st.one_of(
        three.map(lambda size: {"resize": {"size": size, "interpolation": "nearest"}}),
        three.map(lambda size: {"resize": {"size": size}}),
        st.tuples(mm, mm, mm).map(lambda size: {"resample": {"spacing_mm": size}}),
        three.map(lambda size: {"crop": {"size": size}}),
        st.just({"crop": {"above": 0.5, "margin_mm": 3}}),
        three.map(lambda size: {"pad": {"size": size}}),
        mm.map(lambda more: {"pad": {"margin_mm": more}}),
        st.sampled_from(["RAS", "LPS", "SPL", "ILA", "PIR"]).map(lambda to: {"orient": {"to": to}}),
    )
    return draw(st.lists(one, min_size=1, max_size=5))


@settings(max_examples=30, deadline=None)
@given(steps=chains())
def test_whatever_was_done_an_answer_returns_to_the_voxels_of_the_source(
    steps: list[dict[str, Any]],
) -> None:
    source = oblique(inputs.volume(np.arange(5 * 7 * 6, dtype=np.int16).reshape(5, 7, 6)))
    made = run(source, *steps)
    assert isinstance(made.image, Volume)
    shape = made.image.stored.shape
    # the matrix and the affines say the same of every voxel
    there = np.indices(shape).reshape(3, -1).T.astype(np.float64)
    on_source = there @ made.matrix[:3, :3].T + made.matrix[:3, 3]
    assert np.abs(made.image.to_patient(there) - source.to_patient(on_source)).max() < 1e-6
    # a label map that numbers the voxels comes back as the nearest one of each source voxel
    label_map = (np.arange(np.prod(shape)) % 255 + 1).astype(np.uint8).reshape(shape)
    said = made.back(Prediction(findings=(), label_map=label_map))
    assert said.label_map is not None
    assert said.label_map.shape == (5, 7, 6)
    places = np.indices((5, 7, 6)).reshape(3, -1).T.astype(np.float64)
    way = np.linalg.inv(made.matrix)
    index = places @ way[:3, :3].T + way[:3, 3]
    nearest = np.floor(index + 0.5 + 1e-6).astype(int)
    has_one = ((index > -0.5 + 1e-4) & (index < np.array(shape) - 0.5 - 1e-4)).all(axis=1)
    is_beyond = ((index < -0.5 - 1e-4) | (index > np.array(shape) - 0.5 + 1e-4)).any(axis=1)
    # a tie between two voxels may go either way where an axis was turned round
    is_tie = (np.abs(index - np.floor(index) - 0.5) < 1e-4).any(axis=1)
    back = said.label_map.reshape(-1)
    clear = has_one & ~is_tie
    assert (back[clear] == label_map[tuple(nearest[clear].T)]).all()
    assert (back[is_beyond] == 0).all()


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from([one for one in EXACT if "crop" not in one]), min_size=1, max_size=4
    )
)
def test_a_mask_is_the_same_to_the_voxel_after_pads_and_turns(steps: list[dict[str, Any]]) -> None:
    truth = np.random.default_rng(3).random((9, 17, 15)) < 0.3
    made = run(inputs.volume(truth.astype(np.int16)), *steps)
    mask = (values(made) == 1).astype(np.uint8)
    back = made.back(Prediction(findings=(), label_map=mask)).label_map
    np.testing.assert_array_equal(back, truth)
    np.testing.assert_array_equal(made.forth(truth), mask)


def test_boxes_maps_and_segments_return_to_the_source() -> None:
    source = marked()
    made = run(source, {"pad": {"size": [11, 21, 17]}}, {"orient": {"to": "RAS"}})
    assert isinstance(made.image, Volume)
    bright = made.image.stored == 100
    index = np.argwhere(bright)[0]
    x, y, z = made.image.to_patient(index.astype(np.float64))
    corner = tuple(float(one) for one in (*index, *(index + 1)))
    size = made.image.spacing
    box = Detection(label="b", score=1, index_box=corner, centre=(x, y, z), size=size)  # type: ignore[arg-type]
    heat = ValueMap(name="heat", values=made.image.values())
    segments = measures.segments(bright.view(np.uint8), made.image, LABELS)
    finer = DerivedImage(name="f", values=np.ones((2, 2, 2), np.float32), affine=np.eye(4))
    said = made.back(
        Prediction(
            findings=(box, *segments),
            label_map=bright.view(np.uint8),
            maps=(heat,),
            derived=(finer,),
        )
    )
    found, segment = said.findings
    assert isinstance(found, Detection)
    assert isinstance(segment, Segment)
    assert found.index_box == pytest.approx((4, 8, 7, 5, 9, 8))
    assert found.centre == pytest.approx(tuple(source.to_patient(np.array([4.0, 8, 7]))))
    assert found.size == pytest.approx(inputs.SPACING)
    assert segment.centroid == pytest.approx(found.centre)
    assert segment.volume_ml == pytest.approx(2.5 * 1.0 * 0.5 / 1000)
    np.testing.assert_allclose(said.maps[0].values, source.values(), atol=1e-4)
    assert said.derived == (finer,)


def test_a_map_returns_linearly() -> None:
    source = inputs.volume(np.zeros((4, 8, 8), np.float32))
    made = run(source, {"resize": {"size": [4, 8, 4]}})
    ramp = np.broadcast_to(np.arange(4, dtype=np.float32), (4, 8, 4))
    (back,) = made.back(Prediction(findings=(), maps=(ValueMap(name="m", values=ramp),))).maps
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(back.values[2, 3], expected, atol=1e-6)


def test_a_turned_volume_has_a_header_for_its_slices() -> None:
    source = tiny.volume(header=tiny.header("CT"))
    made = run(source, {"orient": {"to": "LPS"}}, {"crop": {"size": [5, 6, 7]}}).image
    assert isinstance(made, Volume)
    assert made.header is not None
    assert len(made.header.instances) == 5
    assert made.header.modality == "CT"


def test_a_filled_stack_keeps_its_way_to_the_source_where_no_voxel_moves() -> None:
    way = Regridding(shape=(3, 20, 18), slices=(0, 3, 5), shifts=((0.0, 0.0),) * 3)
    source = tiny.volume((6, 20, 18), header=tiny.header("CT", 3), regridding=way)
    smooth = run(source, {"gaussian": {"sigma_mm": 1}}).image
    cut = run(source, {"crop": {"size": [4, 20, 18]}}).image
    assert isinstance(smooth, Volume)
    assert isinstance(cut, Volume)
    assert (smooth.regridding, smooth.header) == (way, source.header)
    assert cut.regridding is None
    assert cut.header is not None
    # slices 1 to 4: the nearest of the source, which lie at 0, 3 and 5
    assert [int(i.sop_instance_uid[-1]) for i in cut.header.instances] == [0, 1, 1, 1]


def test_an_image_is_resampled_within_its_frames() -> None:
    frames = np.stack([np.full((8, 8), n, np.float32) for n in range(3)])
    made = run(inputs.image(frames), {"resample": {"spacing_mm": 2}}, {"pad": {"size": [6, 3]}})
    assert values(made).shape == (3, 6, 3)
    assert made.image.spacing == pytest.approx((2.0, 2.0))
    assert [set(np.unique(one)) for one in values(made)] == [{0.0}, {0.0, 1.0}, {0.0, 2.0}]
    inner = (values(made) > 0).astype(np.uint8)
    back = made.back(Prediction(findings=(), label_map=inner)).label_map
    assert back is not None
    assert back.shape == (3, 8, 8)
    assert [bool(one.all()) for one in back] == [False, True, True]


def test_colours_are_resized_and_stay_colours() -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[..., 1] = 200
    made = run(inputs.image(pixels, None), {"resize": {"size": 8}})
    assert values(made).shape == (1, 8, 8, 3)
    assert values(made).dtype == np.uint8
    assert (values(made) == (0, 200, 0)).all()


def test_millimetres_of_an_image_without_spacing_are_refused() -> None:
    frames = np.zeros((1, 8, 8), np.float32)
    with pytest.raises(ModelMismatch, match="crop: a step is in millimetres"):
        run(inputs.image(frames, None), {"crop": {"size_mm": 3}})


def test_a_grid_beyond_all_memory_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="resize: a step would make a grid of 4096 x"):
        run(marked(), {"resize": {"size": 4096}})
