"""Objects out of a segmentation: counted, measured, boxed and written, touching ones apart."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from torch import Tensor, nn

from pipeline.dicom.writing.objects import ObjectWriter
from pipeline.models import predictors
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.devices import Device
from pipeline.models.instances import InstancesPredictor
from pipeline.models.planes import PlanesPredictor
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import InputSpec, Label
from pipeline.results import Detection, Prediction, Segment
from pipeline.volume import Image, Input, Volume
from tests.pipeline.dicom.segs import PROVENANCE
from tests.pipeline.dicom.writing.sources import ct
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

LABELS = (Label(number=1, name="cell"), Label(number=2, name="border"))


class Levels(nn.Module):
    """Tells 0, 0.5 and 1 of the image apart, all with the same certainty."""

    def forward(self, image: Tensor) -> Tensor:
        classes = [(image - level).abs() < 0.1 for level in (0.0, 0.5, 1.0)]
        return torch.cat(classes, 1).float() * 4


CERTAIN = float(np.exp(4) / (np.exp(4) + 2))


def objects(image: Input, **options: Any) -> Prediction:
    is_flat = isinstance(image, Image)
    size = (16, 16) if is_flat else (16, 16, 16)
    stated = InputSpec(
        modalities=("CT",), spatial_dims=len(size), window=(0.0, 100.0), size=size, overlap=0.0
    )
    spec = tiny.unet_spec(input=stated, labels=LABELS, options={"instances": True, **options})
    make = PlanesPredictor if is_flat else SegmentationPredictor
    found = InstancesPredictor(make(spec, Levels(), Device()))
    return found.predict(image, checkpoint=go_on)


def split(found: Prediction) -> tuple[list[Segment], list[Detection]]:
    return (
        [one for one in found.findings if isinstance(one, Segment)],
        [one for one in found.findings if isinstance(one, Detection)],
    )


def volume(*blocks: tuple[slice, slice, slice], value: int = 50) -> Volume:
    stored = np.zeros((16, 16, 16), np.int16)
    for block in blocks:
        stored[block] = value
    return tiny.volume(stored=stored)


def test_each_part_of_a_label_is_an_object_the_largest_first() -> None:
    small, large = np.s_[1:3, 1:3, 1:3], np.s_[8:12, 4:9, 6:9]
    image = volume(small, large)
    found = objects(image)
    segments, boxes = split(found)
    assert found.label_map is not None
    assert (found.label_map[large] == 1).all()
    assert (found.label_map[small] == 2).all()
    assert (found.label_map > 0).sum() == 60 + 8
    assert [(one.number, one.label, one.voxels) for one in segments] == [
        (1, "cell 1", 60),
        (2, "cell 2", 8),
    ]
    assert [one.index_box for one in boxes] == [(8, 4, 6, 12, 9, 9), (1, 1, 1, 3, 3, 3)]
    assert boxes[0].label == "cell"
    assert boxes[0].score == pytest.approx(CERTAIN, abs=1e-4)
    assert boxes[1].centre == pytest.approx(tuple(image.to_patient(np.array((1.5, 1.5, 1.5)))))
    assert boxes[1].size == pytest.approx((5.0, 2.2, 1.8))


def test_objects_that_touch_at_a_border_share_it() -> None:
    image = volume(np.s_[2:6, 2:5, 2:12])
    image.stored[2:6, 2:5, 6:8] = 100
    found = objects(image, border=2)
    assert found.label_map is not None
    np.testing.assert_array_equal(np.unique(found.label_map[2:6, 2:5, 2:7]), [1])
    np.testing.assert_array_equal(np.unique(found.label_map[2:6, 2:5, 7:12]), [2])
    segments, _ = split(found)
    assert [one.voxels for one in segments] == [60, 60]
    # without it all of the border would be an object, and both labels a part
    assert len(split(objects(image))[0]) == 3


def test_small_objects_are_left_out_where_the_model_asks() -> None:
    image = volume(np.s_[1:3, 1:3, 1:3], np.s_[8:12, 4:9, 6:9])
    segments, boxes = split(objects(image, minimum_voxels=9))
    assert len(segments) == len(boxes) == 1


def test_objects_of_different_frames_of_an_image_are_apart() -> None:
    pixels = np.zeros((2, 16, 16), np.float32)
    pixels[:, 2:6, 3:6] = 50
    found = objects(Image(pixels=pixels))
    segments, boxes = split(found)
    assert [one.voxels for one in segments] == [12, 12]
    assert [one.index_box for one in boxes] == [(0, 2, 3, 1, 6, 6), (1, 2, 3, 2, 6, 6)]
    assert {one.centre for one in boxes} == {None}


def test_nothing_found_is_a_valid_answer() -> None:
    found = objects(volume())
    assert found.findings == ()
    assert found.label_map is None


def test_more_objects_than_a_map_can_number_are_said() -> None:
    stored = np.zeros((16, 16, 16), np.int16)
    stored[::2, ::2, ::2] = 50
    found = objects(tiny.volume(stored=stored))
    assert len(split(found)[0]) == 255
    assert found.warnings == ("257 smaller objects were left out: a map holds 255",)


def test_a_bundle_that_asks_for_objects_gets_them(write_unet: Callable[..., Bundle]) -> None:
    opened = predictors.open(write_unet(options={"instances": True}), device=Device())
    assert isinstance(opened, InstancesPredictor)


@pytest.mark.parametrize(
    "options", [{"border": 1}, {"border": 7, "instances": True}, {"minimum_voxels": 0}]
)
def test_options_that_make_no_sense_are_refused(
    write_unet: Callable[..., Bundle], options: dict[str, Any]
) -> None:
    with pytest.raises(BundleRefused, match=r"border|minimum_voxels"):
        write_unet(options=options)


def test_objects_are_written_as_segments_and_reported_with_their_boxes(tmp_path: Path) -> None:
    source = ct(tmp_path)
    stored = np.zeros(source.stored.shape, np.int16)
    stored[1:3, 1:4, 1:4] = stored[0, -3:, -2:] = 50
    image = dataclasses.replace(source, stored=stored, slope=1.0, intercept=0.0)
    found = objects(image)
    writer = ObjectWriter(source=image, prediction=found, provenance=PROVENANCE, name="cells")
    seg, report = writer.write({"dicom-seg", "dicom-sr"})
    dataset = pydicom.dcmread(io.BytesIO(seg.data))
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["cell 1", "cell 2"]
    assert dataset.pixel_array.sum() == 18 + 6
    assert report.data.count(b"cell") >= 4


def test_a_study_without_objects_is_written_too(tmp_path: Path) -> None:
    source = ct(tmp_path)
    image = dataclasses.replace(source, stored=np.zeros_like(source.stored), slope=1.0)
    writer = ObjectWriter(
        source=image, prediction=objects(image), provenance=PROVENANCE, name="cells"
    )
    (report,) = writer.write({"dicom-seg", "dicom-sr"})
    assert report.kind == "dicom-sr"
