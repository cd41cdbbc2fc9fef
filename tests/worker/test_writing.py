"""What a study says as rows of results."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import phantoms
from pipeline.answers import Answer, Place, StudyResult
from pipeline.models import measures
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.phantoms import ImageKind, ImageParameters
from pipeline.results import Classification, Detection, Finding, Prediction
from pipeline.volume import Image, Input, Volume
from records.orders import BoundModel, JobOrder
from tests.pipeline.dicom.made_series import read_image
from worker import writing

MODEL = ModelSpec(
    name="outlines",
    version="1",
    kind=Kind.SEGMENTATION,
    title="Outlines",
    input=InputSpec(modalities=("US",), spatial_dims=2),
    labels=(Label(number=1, name="cyst"),),
)
ORDER = JobOrder(
    queue="infer.routine",
    job_id=uuid.uuid4(),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    source="export",
    study_instance_uid="1.2",
    analysis="outlines",
    analysis_version="1",
    analysis_digest="",
    document={},
    models={
        "outline": BoundModel(id=uuid.uuid4(), name="outlines", version="1", digest="", path="")
    },
    inputs={},
)


def outlined(image: Input, labels: np.ndarray) -> StudyResult:
    place = Place(step="outline", inputs=("image",), position=0, series=(image,), given=image)
    found = measures.segments(labels, image, MODEL.labels)
    answer = Answer(place=place, model=MODEL, prediction=Prediction(findings=found))
    return StudyResult(answers=(answer,), models={"outline": MODEL}, seconds={"outline": 0.0})


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (Image(pixels=np.zeros((1, 8, 8), np.float32)), (12.0, "pixels")),
        (Image(pixels=np.zeros((1, 8, 8, 3), np.uint8)), (12.0, "pixels")),
        (Volume(stored=np.zeros((1, 8, 8)), affine=np.diag([10.0, 5, 5, 1])), (3.0, "mL")),
    ],
    ids=["image", "colours", "volume"],
)
def test_a_segment_of_a_single_image_is_so_many_pixels_and_of_a_volume_so_many_millilitres(
    image: Input, size: tuple[float, str]
) -> None:
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, 2:5, 1:5] = 1
    (row,) = writing.results(outlined(image, labels), ORDER)
    assert (row.value, row.unit) == (pytest.approx(size[0]), size[1])
    assert row.payload["voxels"] == 12


def loop(folder: Path) -> Image:
    """Return four frames, 40 ms apart."""
    phantom = phantoms.image(ImageParameters(kind=ImageKind.US, shape=(8, 8), frames=4))
    phantoms.write_image(phantom, folder)
    return read_image(folder)


def stated(image: Input, *findings: Finding) -> list[dict[str, Any]]:
    """Return the payload of each row."""
    place = Place(step="outline", inputs=("image",), position=0, series=(image,), given=image)
    answer = Answer(place=place, model=MODEL, prediction=Prediction(findings=findings))
    result = StudyResult(answers=(answer,), models={"outline": MODEL}, seconds={"outline": 0.0})
    return [dict(row.payload or {}) for row in writing.results(result, ORDER)]


def test_what_is_said_of_a_loop_names_its_frames_and_their_times(tmp_path: Path) -> None:
    image = loop(tmp_path)
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[[1, 3], 2:5, 1:5] = 1
    box = Detection(label="cyst", score=0.9, index_box=(2, 1, 1, 3, 4, 4), centre=None, size=None)
    score = Classification(label="cyst", score=0.5, by_frame=(0.1, 0.9, 0.2, 0.8))
    (segment,) = measures.segments(labels, image, MODEL.labels)
    outlined, boxed, scored = stated(image, segment, box, score)
    assert (outlined["frames"], outlined["times_s"]) == ([2, 4], [0.04, 0.12])
    assert (boxed["frames"], boxed["times_s"]) == ([3], [0.08])
    assert scored["by_frame"] == [0.1, 0.9, 0.2, 0.8]
    assert (scored["frames"], scored["times_s"]) == ([1, 2, 3, 4], [0, 0.04, 0.08, 0.12])


def test_of_frames_without_times_the_numbers_alone_are_said() -> None:
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[2, 2:5, 1:5] = 1
    image = Image(pixels=np.zeros((3, 8, 8), np.float32))
    (payload,) = stated(image, *measures.segments(labels, image, MODEL.labels))
    assert payload["frames"] == [3]
    assert "times_s" not in payload


def test_what_is_said_of_a_volume_or_a_still_names_no_frames() -> None:
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, 2:5, 1:5] = 1
    still = Image(pixels=np.zeros((1, 8, 8), np.float32))
    volume = Volume(stored=np.zeros((3, 8, 8)), affine=np.diag([10.0, 5, 5, 1]))
    for image, mask in ((still, labels), (volume, np.repeat(labels, 3, axis=0))):
        (payload,) = stated(image, *measures.segments(mask, image, MODEL.labels))
        assert "frames" not in payload
