"""How cases are split, kept and judged."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from pipeline.training.fields.base import LATER, Share, Strict
from pipeline.training.fields.variants import RobustnessField

#: of the overlap of boxes: small ones are found long before they are outlined
HIT_IOU: Final = 0.1


class SplitField(Strict):
    """Shares of the patients, for manifests without a split column."""

    validation: Share = 0.15
    held_out: Share = 0.2

    @model_validator(mode="after")
    def _leaves_cases_to_train_on(self) -> SplitField:
        if self.validation + self.held_out >= 1:
            message = "validation and held_out leave no patient to train on"
            raise ValueError(message)
        return self


class SnapshotField(Strict):
    """How the cases are kept."""

    #: train on copies without who they are of (PS3.15 Annex E), hashed and kept in place of the
    #: originals
    deidentify: bool = False
    #: pictures in colours where grey ones are expected
    colours: Annotated[Literal["refuse", "to-grey"], LATER] = "refuse"
    #: boxes without an area
    empty_boxes: Annotated[Literal["refuse", "drop"], LATER] = "refuse"


class EvaluationField(Strict):
    """How the held-out cases are judged."""

    #: how far apart two surfaces may be and still count as one
    surface_tolerance_mm: float = Field(default=2.0, gt=0, le=100)
    #: a detection hits a box when they overlap at least this much (intersection over union)
    hit_iou: float = Field(default=HIT_IOU, gt=0, le=1)
    #: numbers of a subgroup are not stated for fewer patients
    least_patients: int = Field(default=10, ge=1)
    #: whether the model still answers rightly where inputs were changed to mislead it
    robustness: Annotated[RobustnessField | None, LATER] = None
