"""What a study says as rows of results."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.answers import Answer, Place, StudyResult
from pipeline.models import measures
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Prediction
from pipeline.volume import Image, Input, Volume
from records.orders import BoundModel, JobOrder
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
