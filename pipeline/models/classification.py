"""Scores for whole inputs: single images (frame by frame) and volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from pipeline.errors import ModelMismatch
from pipeline.models import checks, preprocess, sliding
from pipeline.models.devices import Device
from pipeline.models.options import ClassificationOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.segmentation import DTYPES, Laps
from pipeline.models.spec import ModelSpec
from pipeline.results import Classification, Prediction
from pipeline.volume import Image, Input, Volume


class ClassificationPredictor:
    """Prepare, run, and turn logits into one score for each label."""

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = ClassificationOptions.model_validate(dict(spec.options))
        self._device = device
        dtype = DTYPES[self._options.dtype]
        self._network = network.to(device.torch, dtype)
        self._plan = sliding.Plan(
            size=spec.input.size,
            overlap=0.0,
            batch=self._options.batch,
            device=device.torch,
            dtype=dtype,
        )

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with every label's score. See ``Predictor.predict``."""
        if self.spec.input.spatial_dims == 3:
            image = checks.volume(image, self.spec)
        else:
            image = checks.picture(image, self.spec)
        self._device.enter_thread()
        clock = Laps()
        inputs = network_input(image, self.spec)
        clock.lap("preprocess")
        with self._device.hold(checkpoint):
            clock.lap("wait")
            logits, plan, warnings = sliding.step_down(
                self._plan, lambda tried: self._forward(inputs, tried, checkpoint)
            )
        clock.lap("model")
        scores = self._scores(logits)
        return Prediction(
            findings=self._findings(scores),
            options={
                "device": str(plan.device),
                "dtype": str(plan.dtype).removeprefix("torch."),
                "batch": plan.batch,
                "frames": len(inputs),
            },
            seconds=clock.seconds,
            warnings=warnings,
        )

    def _forward(self, inputs: Tensor, plan: sliding.Plan, checkpoint: Checkpoint) -> Tensor:
        """Return float32 logits (frames, labels)."""
        network = sliding.on(self._network, plan, self._plan)
        found = []
        for first in range(0, len(inputs), plan.batch):
            checkpoint()
            group = inputs[first : first + plan.batch]
            answer = network(group.to(plan.device, plan.dtype))
            found.append(answer.float().cpu())
        return torch.cat(found)

    def _scores(self, logits: Tensor) -> list[float]:
        if not torch.isfinite(logits).all():
            raise ModelMismatch(f"model {self.spec.name} answered with values that are not finite")
        logits = logits.double()
        by_frame = logits.softmax(1) if self._options.activation == "softmax" else logits.sigmoid()
        joined = by_frame.amax(0) if self._options.frames == "max" else by_frame.mean(0)
        return [float(score) for score in joined]

    def _findings(self, scores: Sequence[float]) -> tuple[Classification, ...]:
        top = int(np.argmax(scores))
        return tuple(
            Classification(
                label=label.name,
                score=scores[label.number],
                code=label.code,
                is_top=label.number == top,
            )
            for label in self.spec.labels
        )


def network_input(image: Input, spec: ModelSpec) -> Tensor:
    """Return what the network sees: float32, 0 to 1, (frames, channels, *spec.input.size).

    Training uses this too, so that a model meets in use what it learned from.
    """
    options = ClassificationOptions.model_validate(dict(spec.options))
    if isinstance(image, Volume):
        scaled = preprocess.prepare(image, spec.input).image[None, None]
    else:
        scaled = _frames(image, spec)
    if options.fit == "crop":
        return _centre(scaled, spec.input.size)
    return _resize(scaled, spec.input.size)


def _frames(image: Image, spec: ModelSpec) -> Tensor:
    """Return (frames, channels, rows, columns), scaled to 0..1."""
    pixels = image.pixels
    if pixels.ndim == 4:
        low, high = spec.input.window or (0.0, 255.0)
        pixels = np.moveaxis(pixels, 3, 1)
    else:
        low, high = spec.input.window or preprocess.foreground_percentiles(
            pixels, spec.input.percentiles
        )
        pixels = pixels[:, None]
    values = torch.from_numpy(np.array(pixels, dtype=np.float32, order="C"))
    return values.sub_(low).div_(max(high - low, 1e-12)).clamp_(0, 1)


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
