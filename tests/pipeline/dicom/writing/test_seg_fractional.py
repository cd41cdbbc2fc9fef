from __future__ import annotations

import io
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.dicom.writing.seg import write_seg
from pipeline.dicom.writing.seg_fractional import write_fractional_seg
from pipeline.results import ValueMap
from tests.pipeline.dicom.segs import PROVENANCE, made_volume, read, segment


def probabilities(seed: int, shape: tuple[int, int, int] = (4, 5, 7)) -> ValueMap:
    values = np.random.default_rng(seed).random(shape, np.float32)
    return ValueMap(name=f"Thing {seed}", values=values)


def test_highdicom_reads_each_segments_probabilities_back() -> None:
    volume = made_volume((4, 5, 7))
    maps = [probabilities(1), probabilities(2)]
    maps[1].values[1] = 0
    # described out of order: map i belongs to segment i
    data = write_fractional_seg(volume, maps, [segment(7), segment(3)], PROVENANCE)
    assert volume.header is not None
    found = hd.seg.segread(io.BytesIO(data)).get_pixels_by_source_instance(
        [instance.sop_instance_uid for instance in volume.header.instances],
        assert_missing_frames_are_empty=True,
    )
    for segment_index, one in enumerate([maps[1], maps[0]]):
        assert np.abs(found[..., segment_index] - one.values).max() <= 0.5 / 255 + 1e-6
    seg = read(data)
    assert (seg.SegmentationFractionalType, seg.MaximumFractionalValue) == ("PROBABILITY", 255)
    assert seg.NumberOfFrames == 7


@pytest.mark.parametrize(
    ("probability", "stored"), [(0.0, 0), (0.0019, 0), (0.002, 1), (0.5, 128), (1.0, 255)]
)
def test_a_probability_is_rounded_to_the_nearest_step(probability: float, stored: int) -> None:
    values = np.full((1, 3, 3), probability, np.float32)
    one = ValueMap(name="Thing", values=values)
    seg = read(write_fractional_seg(made_volume((1, 3, 3)), [one], [segment(1)], PROVENANCE))
    assert np.unique(seg.pixel_array).tolist() == [stored]
    # nine bytes and one to make them even
    assert len(seg.PixelData) == 10


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    one = probabilities(1)
    one.values[2, 3, 4] = wrong
    with pytest.raises(ValueError, match="between 0 and 1"):
        write_fractional_seg(made_volume((4, 5, 7)), [one], [segment(1)], PROVENANCE)


def test_every_segment_needs_a_map() -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_fractional_seg(
            made_volume((4, 5, 7)), [probabilities(1)], [segment(1), segment(2)], PROVENANCE
        )


def test_the_same_maps_give_the_same_bytes_and_another_object_than_the_label_map() -> None:
    volume = made_volume((4, 5, 7))
    one, other = (
        write_fractional_seg(volume, [probabilities(1)], [segment(1)], PROVENANCE) for _ in range(2)
    )
    assert one == other
    label_map: NDArray[np.uint8] = np.ones((4, 5, 7), np.uint8)
    binary = read(write_seg(volume, label_map, [segment(1)], PROVENANCE))
    assert read(one).SOPInstanceUID != binary.SOPInstanceUID
    assert read(one).SeriesInstanceUID != binary.SeriesInstanceUID
    # the same thing, said twice: one tracking UID
    assert read(one).SegmentSequence[0].TrackingUID == binary.SegmentSequence[0].TrackingUID


def test_a_demonstration_says_so() -> None:
    shown = replace(PROVENANCE, is_demonstration=True)
    seg = read(
        write_fractional_seg(made_volume((4, 5, 7)), [probabilities(1)], [segment(1)], shown)
    )
    assert "DEMONSTRATION" in seg.ContentDescription
