"""Scores for whole inputs: single images frame by frame, volumes as a whole or slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Final, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor, nn

from pipeline.asking import Explain, Uncertainty
from pipeline.errors import ModelMismatch, OutOfMemory
from pipeline.models import (
    beside,
    calibration,
    checks,
    explaining,
    sliding,
    uncertainty,
)
from pipeline.models.beside import Beside
from pipeline.models.company import Batcher
from pipeline.models.devices import Device
from pipeline.models.engines import DTYPES
from pipeline.models.options import ClassificationOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.sampling import Sampled
from pipeline.models.segmentation import Laps
from pipeline.models.small_inputs import Answer, forward, together
from pipeline.models.spec import ModelSpec
from pipeline.models.whole_inputs import network_input, on_source
from pipeline.results import Classification, Prediction, ValueMap
from pipeline.volume import Channels, Image, Input, Volume

#: values of an image
_SMALL: Final = 2**16


@dataclass(frozen=True, kw_only=True)
class _Group:
    """What one job asks about: checked inputs, and what was done for them in its own thread."""

    images: Sequence[Input | Channels]
    #: how many frames there are of each
    frames: Sequence[int]
    #: (all frames, channels, *size); None = small ones, prepared by whoever leads the pass
    inputs: Tensor | None
    besides: Sequence[Beside]
    clock: Laps


class ClassificationPredictor:
    """Prepare, run, and turn logits into one score for each label.

    A network of two axes answers for each frame of an image, or each slice of a volume, and the
    scores are joined as the options say. One of three axes answers for a volume, or for a loop,
    whose frames are its first axis (``checks.is_sequence``).
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
        self._network = network.to(device.torch, dtype)
        self._plan = plan
        self._batcher = Batcher(self._answered, device, most=plan.batch)

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with every label's score. See ``Predictor.predict``."""
        return self.predict_many([image], checkpoint=checkpoint)[0]

    def predict_many(self, images: Sequence[Input], *, checkpoint: Checkpoint) -> list[Prediction]:
        """Answer for each of several inputs. See ``TakesMany.predict_many``."""
        found = []
        for first in range(0, len(images), self._plan.batch):
            found += self._predict_group(images[first : first + self._plan.batch], checkpoint)
        return found

    def predict_channels(self, channels: Channels, *, checkpoint: Checkpoint) -> Prediction:
        """Answer for several series as one input: see ``TakesChannels``."""
        return self._predict_group([channels], checkpoint)[0]

    def _predict_group(
        self, images: Sequence[Input | Channels], checkpoint: Checkpoint
    ) -> list[Prediction]:
        self._device.enter_thread()
        with self._batcher.coming():
            group = self._group(images)
        return self._batcher.ask(group, count=sum(group.frames), checkpoint=checkpoint)

    def _group(self, images: Sequence[Input | Channels]) -> _Group:
        """Check the inputs of one job, and prepare what is not prepared in no time."""
        clock = Laps()
        checked = [self._checked(image) for image in images]
        frames = [self._count(image) for image in checked if _is_small(image)]
        inputs = None
        if len(frames) < len(checked):
            prepared = [network_input(image, self.spec) for image in checked]
            inputs, frames = torch.cat(prepared), [len(one) for one in prepared]
        besides = [beside.of(image, self.spec) for image in checked]
        clock.lap("preprocess")
        return _Group(images=checked, frames=frames, inputs=inputs, besides=besides, clock=clock)

    def _count(self, image: Image) -> int:
        """Return how many answers the network gives of an image: of a sequence, one."""
        return 1 if self.spec.input.spatial_dims == 3 else len(image.pixels)

    def _answered(self, groups: Sequence[_Group], checkpoint: Checkpoint) -> list[list[Prediction]]:
        """Answer for the inputs of several jobs in one pass of the network."""
        clocks = [group.clock for group in groups]
        _lap(clocks, "wait")
        inputs = torch.cat([part for group in groups for part in self._prepared(group)])
        _lap(clocks, "preprocess")
        frames = [count for group in groups for count in group.frames]
        rows = beside.rows([its for group in groups for its in group.besides], frames)
        answer = forward(self._network, self._plan, inputs, checkpoint=checkpoint, beside=rows)
        _lap(clocks, "model")
        scores = self._scores(answer.outputs.numpy())
        every = iter(np.split(scores, np.cumsum(frames)[:-1]))
        return [
            self._predictions(group, islice(every, len(group.images)), answer) for group in groups
        ]

    def _prepared(self, group: _Group) -> list[Tensor]:
        if group.inputs is not None:
            return [group.inputs]
        return [network_input(image, self.spec) for image in group.images]

    def _predictions(
        self, group: _Group, every: Iterable[NDArray[np.float64]], answer: Answer
    ) -> list[Prediction]:
        """Say what the scores of each input of a group mean."""
        each = {stage: spent / len(group.images) for stage, spent in group.clock.seconds.items()}
        return [
            self._prediction(scores, self._joined(scores), answer, each, its.report())
            for its, scores in zip(group.besides, every, strict=True)
        ]

    def predict_with_uncertainty(
        self, image: Input | Channels, asked: Uncertainty, *, checkpoint: Checkpoint
    ) -> Prediction:
        """Answer with the mean score of all samples: see ``SaysHowSure``."""
        self._device.enter_thread()
        clock = Laps()
        temperature = uncertainty.temperature_of(asked, self.spec)
        checked = self._checked(image)
        inputs, its = network_input(checked, self.spec), beside.of(checked, self.spec)
        rows = beside.rows([its], [len(inputs)])
        clock.lap("preprocess")
        run = partial(forward, plan=self._plan, inputs=inputs, checkpoint=checkpoint, beside=rows)
        with self._device.hold(checkpoint):
            clock.lap("wait")
            answer = run(Sampled(self._network, asked, checkpoint))
        clock.lap("model")
        each = np.array([self._scores(one) for one in answer.outputs.numpy().swapaxes(0, 1)])
        samples = np.array([self._joined(scores) for scores in each])
        if asked.temperature is not None:
            is_exclusive = self._options.activation == "softmax"
            samples = calibration.tempered(samples, temperature, is_exclusive=is_exclusive)
        sure = uncertainty.of_input(samples, self._options.activation)
        if asked.conformal is not None:
            with self._device.hold(checkpoint):
                logits = run(self._network).outputs.numpy()
            in_set = self._prediction_set(logits, asked.conformal.coverage)
            sure = replace(sure, in_set=in_set)
        more = {**its.report(), "uncertainty": uncertainty.report(asked)}
        prediction = self._prediction(each.mean(0), sure.mean, answer, clock.seconds, more)
        sureness = sure.measurements(self.spec.labels)
        return replace(prediction, findings=(*prediction.findings, *sureness))

    def _prediction_set(self, logits: NDArray[np.float32], coverage: float) -> tuple[bool, ...]:
        """Say which labels are in the set, by the scores that the calibration was fitted to."""
        kept = self.spec.calibration
        if kept is None or not kept.scores:
            raise ModelMismatch(f"model {self.spec.name} keeps no scores for prediction sets")
        scores = np.array(self._joined(self._scores(logits)))
        return tuple(map(bool, calibration.prediction_set(scores, kept, coverage)))

    def explain(
        self, image: Input | Channels, asked: Explain, label: str, *, checkpoint: Checkpoint
    ) -> ValueMap:
        """Return where in the input the score of a label comes from: see ``Explains``."""
        number = {one.name: one.number for one in self.spec.labels}.get(label)
        if number is None:
            raise ModelMismatch(f"model {self.spec.name} knows no label {label}")
        checked = self._checked(image)
        self._device.enter_thread()
        where = self._device.torch, self._plan.dtype
        inputs = network_input(checked, self.spec).to(*where)
        takes = explaining.Takes(
            beside=beside.moved(beside.of(checked, self.spec).tensors, *where),
            are_apart=self._options.activation == "sigmoid",
        )
        try:
            with self._device.hold(checkpoint):
                found = explaining.explain(
                    self._network,
                    inputs,
                    number,
                    asked,
                    checkpoint=checkpoint,
                    takes=takes,
                )
        except (RuntimeError, MemoryError) as error:
            if not sliding.is_out_of_memory(error):
                raise
            sentence = f"memory ran out while model {self.spec.name} was explained"
            raise OutOfMemory(sentence) from error
        values = on_source(found, checked, self.spec)
        return ValueMap(name=f"{asked.method} of {label}", values=values)

    def _checked(self, image: Input | Channels) -> Input | Channels:
        if isinstance(image, Channels):
            checks.series(image, self.spec)
            return image
        if checks.is_sequence(image, self.spec.input):
            return checks.picture(image, self.spec)
        if self.spec.input.spatial_dims == 3 or isinstance(image, Volume):
            return checks.volume(image, self.spec)
        return checks.picture(image, self.spec)

    def _prediction(
        self,
        by_frame: NDArray[np.float64],
        scores: Sequence[float],
        answer: Answer,
        seconds: dict[str, float],
        more: Mapping[str, object],
    ) -> Prediction:
        return Prediction(
            findings=self._findings(by_frame, scores),
            options={
                "device": str(answer.plan.device),
                "dtype": str(answer.plan.dtype).removeprefix("torch."),
                "batch": answer.plan.batch,
                "frames": len(by_frame),
                "together": len(answer.outputs),
                **more,
            },
            seconds=seconds,
            warnings=answer.warnings,
        )

    def _scores(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores (frames, labels), 0 to 1.

        By NumPy: every step of torch lets other threads go on, which takes longer than the step.
        """
        if not np.isfinite(logits).all():
            raise ModelMismatch(f"model {self.spec.name} answered with values that are not finite")
        exact = logits.astype(np.float64)
        is_exclusive = self._options.activation == "softmax"
        scores: NDArray[np.float64] = softmax(exact, axis=1) if is_exclusive else expit(exact)
        return scores

    def _joined(self, by_frame: NDArray[np.float64]) -> list[float]:
        match self._options.frames:
            case "mean":
                joined = by_frame.mean(0)
            case "max":
                joined = by_frame.max(0)
            case "top":
                joined = np.sort(by_frame, axis=0)[-self._options.top :].mean(0)
        return [float(score) for score in joined]

    def _findings(
        self, by_frame: NDArray[np.float64], scores: Sequence[float]
    ) -> tuple[Classification, ...]:
        top = int(np.argmax(scores))
        is_kept = self._options.keep_frames and len(by_frame) > 1
        kept = by_frame.T.tolist() if is_kept else [()] * len(scores)
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


def _lap(clocks: Sequence[Laps], stage: str) -> None:
    for clock in clocks:
        clock.lap(stage)


def _is_small(image: Input | Channels) -> TypeGuard[Image]:
    """Say whether an input is prepared faster than threads change."""
    return isinstance(image, Image) and image.pixels.size <= _SMALL
