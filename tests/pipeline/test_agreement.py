"""How far two models agree: masks, classes, boxes and measurements with answers in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.agreement import agreement
from pipeline.answers import Answer, Place
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import (
    Classification,
    DerivedImage,
    Detection,
    Finding,
    Measurement,
    Prediction,
    Segment,
)

MODEL = ModelSpec(
    name="any",
    version="1",
    kind=Kind.CLASSIFICATION,
    title="Any",
    input=InputSpec(modalities=("CT",), spatial_dims=3),
    labels=(Label(number=0, name="x"),),
    digest="d" * 64,
)


def answer(prediction: Prediction, position: int = 0) -> Answer:
    place = Place(step="any", inputs=("ct",), position=position, series=(), given=None)  # type: ignore[arg-type]
    return Answer(place=place, model=MODEL, prediction=prediction)


def saying(*findings: Finding, mask: np.ndarray | None = None) -> Prediction:
    return Prediction(findings=findings, label_map=mask)


def sick(score: float) -> Prediction:
    is_sick = score > 0.5
    return saying(
        Classification(label="sick", score=score, is_top=is_sick),
        Classification(label="well", score=1 - score, is_top=not is_sick),
    )


def lung(voxels: int, number: int = 1) -> Prediction:
    mask = np.zeros(100, np.uint8)
    mask[:voxels] = number
    segment = Segment(number=number, label="lung", voxels=voxels, volume_ml=0.0, centroid=None)
    return saying(segment, mask=mask)


def box(start: float) -> Detection:
    lower, upper = (start, 0.0, 0.0), (start + 10.0, 10.0, 10.0)
    return Detection(label="nodule", score=0.9, index_box=(*lower, *upper), centre=None, size=None)


def test_classes_agree_by_the_label_on_top() -> None:
    found = agreement(
        [answer(sick(0.9)), answer(sick(0.6), 1)], [answer(sick(0.7)), answer(sick(0.2), 1)]
    )
    assert found["classes"] == [["sick", "sick"], ["sick", "well"]]
    assert found["score_difference"] == pytest.approx(0.4)
    assert (found["inputs"], found["dice"], found["boxes"]) == (2, {}, None)


def test_masks_agree_by_their_overlap() -> None:
    assert agreement([answer(lung(30))], [answer(lung(10))])["dice"] == {"lung": 0.5}
    assert agreement([answer(lung(0))], [answer(lung(0))])["dice"] == {"lung": 1.0}
    assert agreement([answer(lung(5))], [answer(lung(0))])["dice"] == {"lung": 0.0}


def test_masks_are_compared_by_label_whatever_their_numbers_are() -> None:
    assert agreement([answer(lung(30))], [answer(lung(10, number=7))])["dice"] == {"lung": 0.5}
    alone = agreement([answer(lung(30))], [answer(saying(mask=np.zeros(100, np.uint8)))])
    assert alone["dice"] == {"lung": 0.0}


def test_boxes_are_the_same_where_they_overlap_by_half() -> None:
    # of 10 voxels moved by 3 the overlap is 7 of 13; by 4 it is 6 of 14
    found = agreement([answer(saying(box(0), box(50)))], [answer(saying(box(3), box(54), box(90)))])
    assert found["boxes"] == {"delivered": 2, "beside": 3, "same": 1}
    assert agreement([answer(saying(box(0)))], [answer(saying())])["boxes"] == {
        "delivered": 1,
        "beside": 0,
        "same": 0,
    }


def test_measurements_and_images_differ_by_so_much() -> None:
    def measured(value: float) -> Prediction:
        image = DerivedImage(name="clean", values=np.full((2, 2), value, np.float32), affine=None)
        ejected = Measurement(label="ejection", value=value, unit="%")
        return Prediction(findings=(ejected,), derived=(image,))

    found = agreement([answer(measured(50.0))], [answer(measured(53.0))])
    assert found["measurements"] == {"ejection": 3.0}
    assert found["rms"] == pytest.approx(3.0)


def test_inputs_that_one_of_them_skipped_are_counted_apart() -> None:
    found = agreement([answer(lung(3)), answer(lung(3), 1)], [answer(lung(3))])
    assert (found["inputs"], found["only_one"]) == (1, 1)
