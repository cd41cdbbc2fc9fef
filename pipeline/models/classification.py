"""Scores for whole inputs: single images frame by frame, volumes as a whole or slice by slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from pipeline.errors import ModelMismatch
from pipeline.models import checks, planes, preprocess, sliding
from pipeline.models.devices import Device
from pipeline.models.engines import DTYPES
from pipeline.models.options import ClassificationOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.segmentation import Laps
from pipeline.models.small_inputs import Answer, Batcher, together
from pipeline.models.spec import ModelSpec
from pipeline.results import Classification, Prediction
from pipeline.volume import Input, Volume


class ClassificationPredictor:
    """Prepare, run, and turn logits into one score for each label.

    A network of two axes answers for each frame of an image, or each slice of a volume, and the
    scores are joined as the options say.
    """

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = ClassificationOptions.model_validate(dict(spec.options))
        self._device = device
        dtype = DTYPES[self._options.dtype]
        plan = sliding.Plan(
            size=spec.input.size,
            overlap=0.0,
            batch=self._options.batch or together((spec.input.channels, *spec.input.size)),
            device=device.torch,
            dtype=dtype,
        )
        self._batcher = Batcher(network.to(device.torch, dtype), plan, device)
        self._batch = plan.batch

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with every label's score. See ``Predictor.predict``."""
        return self.predict_many([image], checkpoint=checkpoint)[0]

    def predict_many(self, images: Sequence[Input], *, checkpoint: Checkpoint) -> list[Prediction]:
        """Answer for each of several inputs. See ``TakesMany.predict_many``."""
        found = []
        for first in range(0, len(images), self._batch):
            found += self._predict_group(images[first : first + self._batch], checkpoint)
        return found

    def _predict_group(self, images: Sequence[Input], checkpoint: Checkpoint) -> list[Prediction]:
        self._device.enter_thread()
        clock = Laps()
        with self._batcher.coming():
            inputs = [network_input(self._checked(image), self.spec) for image in images]
            clock.lap("preprocess")
        answer = self._batcher.ask(torch.cat(inputs), checkpoint=checkpoint)
        seconds = {**clock.seconds, "wait": answer.waited, "model": answer.computed}
        each = {stage: spent / len(images) for stage, spent in seconds.items()}
        parts = torch.split(answer.outputs, [len(one) for one in inputs])
        return [self._prediction(part, answer, each) for part in parts]

    def _checked(self, image: Input) -> Input:
        if self.spec.input.spatial_dims == 3 or isinstance(image, Volume):
            return checks.volume(image, self.spec)
        return checks.picture(image, self.spec)

    def _prediction(self, logits: Tensor, answer: Answer, seconds: dict[str, float]) -> Prediction:
        by_frame = self._scores(logits)
        return Prediction(
            findings=self._findings(by_frame),
            options={
                "device": str(answer.plan.device),
                "dtype": str(answer.plan.dtype).removeprefix("torch."),
                "batch": answer.plan.batch,
                "frames": len(logits),
                "together": answer.together,
            },
            seconds=seconds,
            warnings=answer.warnings,
        )

    def _scores(self, logits: Tensor) -> Tensor:
        """Return the scores (frames, labels), 0 to 1."""
        if not torch.isfinite(logits).all():
            raise ModelMismatch(f"model {self.spec.name} answered with values that are not finite")
        logits = logits.double()
        return logits.softmax(1) if self._options.activation == "softmax" else logits.sigmoid()

    def _joined(self, by_frame: Tensor) -> list[float]:
        match self._options.frames:
            case "mean":
                joined = by_frame.mean(0)
            case "max":
                joined = by_frame.amax(0)
            case "top":
                joined = by_frame.topk(min(self._options.top, len(by_frame)), dim=0).values.mean(0)
        return [float(score) for score in joined]

    def _findings(self, by_frame: Tensor) -> tuple[Classification, ...]:
        scores = self._joined(by_frame)
        top = int(np.argmax(scores))
        kept = by_frame.T.tolist() if self._options.keep_frames else [()] * len(scores)
        return tuple(
            Classification(
                label=label.name,
                score=scores[label.number],
                code=label.code,
                is_top=label.number == top,
                by_frame=tuple(kept[label.number]),
            )
            for label in self.spec.labels
        )


def network_input(image: Input, spec: ModelSpec) -> Tensor:
    """Return what the network sees: float32, 0 to 1, (frames, channels, *spec.input.size).

    Training uses this too, so that a model meets in use what it learned from.
    """
    options = ClassificationOptions.model_validate(dict(spec.options))
    if isinstance(image, Volume):
        prepared = preprocess.prepare(image, spec.input).image
        # the channel of one volume, or of each of its slices
        scaled = prepared[None, None] if spec.input.spatial_dims == 3 else prepared[:, None]
    else:
        scaled = planes.frames(image, spec.input)[0].transpose(0, 1)
    if options.fit == "crop":
        return _centre(scaled, spec.input.size)
    return _resize(scaled, spec.input.size)


def _resize(values: Tensor, size: Sequence[int]) -> Tensor:
    """Stretch to ``size``; planes are smoothed where they shrink, so that nothing small is lost."""
    if tuple(values.shape[2:]) == tuple(size):
        return values
    if len(size) == 2:
        return F.interpolate(values, tuple(size), mode="bilinear", antialias=True)
    return F.interpolate(values, tuple(size), mode="trilinear")


def _centre(values: Tensor, size: Sequence[int]) -> Tensor:
    """Cut or pad with zeros, the middle staying the middle."""
    for axis, want in enumerate(size, start=2):
        have = values.shape[axis]
        if have > want:
            values = values.narrow(axis, (have - want) // 2, want)
        elif have < want:
            missing = want - have
            widths = [0, 0] * (values.ndim - 1 - axis) + [missing // 2, missing - missing // 2]
            values = F.pad(values, widths)
    return values.contiguous()
