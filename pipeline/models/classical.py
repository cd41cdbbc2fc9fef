"""Masks by classical image processing: a chain of image steps, stated as data. No weights."""

from __future__ import annotations

import time

from pipeline.models import checks, measures
from pipeline.models.options import ClassicalOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.spec import ModelSpec
from pipeline.preprocess.preparing import prepare
from pipeline.results import Prediction
from pipeline.volume import Input


class ClassicalPredictor:
    """Answers with the mask that its steps end in. Holds nothing that changes."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._steps = ClassicalOptions.model_validate(dict(spec.options)).steps

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with a label map of one label. See ``Predictor.predict``."""
        check = checks.volume if self.spec.input.spatial_dims == 3 else checks.picture
        made = prepare(check(image, self.spec), self._steps, checkpoint=checkpoint)
        began, label = time.perf_counter(), self.spec.labels[0]
        mask = made.mask()
        return Prediction(
            findings=measures.segments(mask, image, self.spec.labels),
            label_map=mask,
            options={"device": "cpu", "steps": list(made.steps)},
            seconds={"model": made.seconds, "measure": time.perf_counter() - began},
            warnings=(*made.warnings, *((f"no {label.name} was found",) if not mask.any() else ())),
        )
