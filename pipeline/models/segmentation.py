"""Label maps of volumes by a network over sliding windows."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.asking import Uncertainty
from pipeline.errors import OutOfMemory
from pipeline.models import checks, engines, labels, measures, preprocess, sliding, tuned
from pipeline.models.batching import Queue
from pipeline.models.devices import Device
from pipeline.models.engines import Choice
from pipeline.models.options import SegmentationOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.preprocess import Prepared
from pipeline.models.sampling import Moments, Sampled
from pipeline.models.spec import ModelSpec
from pipeline.models.stitching import Blend, Box, Sweep
from pipeline.models.uncertainty import VoxelUncertainty, temperature_of
from pipeline.results import Prediction
from pipeline.volume import Channels, Input, Volume

#: of the sums of windows, for each voxel of the volume: what an int16 volume takes
_ROOM_PER_VOXEL: Final = 2
#: of all probability maps of one prediction
_MOST_MAP_BYTES: Final = 8 * 2**30


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """What a volume is run through, and where its answer goes."""

    network: nn.Module
    queue: Queue
    probabilities: NDArray[np.float32] | None = None
    #: None: what the network answers with are logits
    uncertainty: VoxelUncertainty | None = None


class SegmentationPredictor:
    """Prepare, run windows, argmax on the source grid, measure."""

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = SegmentationOptions.model_validate(dict(spec.options))
        self._device = device
        self._choice = tuned.choice_for(spec, device)
        self._plan = plan_windows(spec, self._choice, device, blend=self._options.blend)
        window = (spec.input.channels, *spec.input.size)
        self._network = engines.prepare(network, self._choice, device, window)
        self._queue = Queue(device)

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with a label map on the volume's grid. See ``Predictor.predict``."""
        return self._predict((checks.volume(image, self.spec),), checkpoint, keeps=False)

    def predict_channels(self, channels: Channels, *, checkpoint: Checkpoint) -> Prediction:
        """Answer for several series as one input: see ``TakesChannels``."""
        return self._predict(checks.series(channels, self.spec), checkpoint, keeps=False)

    def predict_with_probabilities(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with one map per label too: see ``KeepsProbabilities``.

        A probability is the softmax over the classes of the logits that decide the label, or what
        was interpolated where ``interpolates`` says that those were probabilities.
        """
        return self._predict((checks.volume(image, self.spec),), checkpoint, keeps=True)

    def predict_with_uncertainty(
        self, image: Input | Channels, asked: Uncertainty, *, checkpoint: Checkpoint
    ) -> Prediction:
        """Answer with the labels of the mean of all samples: see ``SaysHowSure``."""
        network = moments(engines.eager(self._network), self.spec, asked, checkpoint)
        return self.predict_by_moments(image, network, asked, checkpoint=checkpoint)

    def predict_by_moments(
        self,
        image: Input | Channels,
        network: nn.Module,
        asked: Uncertainty,
        *,
        checkpoint: Checkpoint,
    ) -> Prediction:
        """Answer as ``predict_with_uncertainty`` by what answers as ``moments`` does."""
        if isinstance(image, Channels):
            volumes = checks.series(image, self.spec)
        else:
            volumes = (checks.volume(image, self.spec),)
        shape = volumes[0].stored.shape
        doubts = VoxelUncertainty(shape, asked)
        # nobody else's windows go through this network
        run = _Pass(network=network, queue=Queue(self._device), uncertainty=doubts)
        return self._answer(volumes, run, checkpoint)

    def _predict(
        self, volumes: Sequence[Volume], checkpoint: Checkpoint, *, keeps: bool
    ) -> Prediction:
        kept = self._room(volumes[0].stored.shape) if keeps else None
        run = _Pass(network=self._network, queue=self._queue, probabilities=kept)
        return self._answer(volumes, run, checkpoint)

    def _answer(self, volumes: Sequence[Volume], run: _Pass, checkpoint: Checkpoint) -> Prediction:
        volume = volumes[0]
        self._device.enter_thread(self._choice.threads)
        clock = Laps()
        prepared = self._prepare(*volumes)
        clock.lap("preprocess")
        if prepared.is_empty:
            label_map = np.zeros(volume.stored.shape, np.uint8)
            used: dict[str, object] = {"device": str(self._device), "windows": 0}
            warnings: tuple[str, ...] = ("nothing lies above the model's window",)
        else:
            label_map, used, warnings = self._infer(prepared, checkpoint, clock, run)
        found = measures.segments(label_map, volume, self.spec.labels)
        clock.lap("measure")
        kept, doubts = run.probabilities, run.uncertainty
        answer = Prediction(
            findings=found,
            label_map=label_map,
            maps=() if kept is None else measures.probability_maps(kept, self.spec.labels),
            options=used,
            seconds=clock.seconds,
            warnings=(*prepared.warnings, *warnings),
        )
        return answer if doubts is None else doubts.added_to(answer)

    def _prepare(self, *volumes: Volume) -> Prepared:
        """Prepare volumes on the device, or on the CPU where its memory is used up."""
        spec, crop = self.spec.input, self._options.crop_foreground
        device = self._device.torch
        try:
            return preprocess.prepare_channels(volumes, spec, crop_foreground=crop, device=device)
        except (RuntimeError, MemoryError) as error:
            if not sliding.is_out_of_memory(error) or device.type == "cpu":
                raise
        prepared = preprocess.prepare_channels(volumes, spec, crop_foreground=crop)
        sentence = "memory ran out on the device while the input was resampled"
        return replace(prepared, warnings=(*prepared.warnings, sentence))

    def _room(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return zeros (classes, slices, rows, columns); refuse before anything is computed."""
        classes = 1 + max(label.number for label in self.spec.labels)
        if 4 * classes * math.prod(shape) > _MOST_MAP_BYTES:
            sentence = f"the probabilities of {classes} classes take more than 8 GiB"
            raise OutOfMemory(sentence)
        return np.zeros((classes, *shape), np.float32)

    def _infer(
        self,
        prepared: Prepared,
        checkpoint: Checkpoint,
        clock: Laps,
        run: _Pass,
    ) -> tuple[NDArray[np.uint8], dict[str, object], tuple[str, ...]]:
        grid, warnings = prepared.grid, list[str]()
        is_scaled = run.uncertainty is None and self._options.interpolates == "probabilities"
        canvas = labels.Canvas(
            grid,
            checkpoint=checkpoint,
            probabilities=run.probabilities,
            is_scaled=is_scaled,
            reader=None if run.uncertainty is None else run.uncertainty.read,
        )
        filling = Laps()

        def fill(box: Box, logits: Tensor) -> None:
            filling.restart()
            sliding.require_finite(logits, self.spec)
            logits = logits.softmax(0) if is_scaled else logits
            try:
                canvas.fill(box, logits)
            except (RuntimeError, MemoryError) as error:
                if not sliding.is_out_of_memory(error) or logits.device.type == "cpu":
                    raise
                warnings.append("memory ran out on the device while labels were made")
                canvas.fill(box, logits.cpu())
            filling.lap("inverse")

        passed = sliding.pass_over(
            run.network,
            prepared.image,
            self._plan,
            sweep=Sweep(
                axes=tuple(grid.network_axis(axis) for axis in range(3)),
                room=_ROOM_PER_VOXEL * math.prod(grid.source_shape),
                bound=self._device.sums,
                finish=fill,
            ),
            checkpoint=checkpoint,
            queue=run.queue,
        )
        clock.book({**passed.seconds, **filling.seconds})
        used = used_options(passed.plan, passed.windows) | self._how(passed.plan)
        used["windows_again"] = passed.again
        return canvas.labels, used, (*passed.warnings, *dict.fromkeys(warnings))

    def _how(self, plan: sliding.Plan) -> dict[str, object]:
        """Return what the run report says of how the network was computed."""
        is_planned = plan.device == self._plan.device and plan.batch == self._plan.batch
        return {
            "engine": self._choice.engine if is_planned else "eager",
            "layout": self._choice.layout,
            "threads": self._choice.threads,
        }


def moments(
    network: nn.Module, spec: ModelSpec, asked: Uncertainty, checkpoint: Checkpoint
) -> Moments:
    """Return what answers with the moments of all samples of a network.

    Raises:
        ModelMismatch: the model keeps no temperature, and its own is asked for.

    """
    return Moments(Sampled(network, asked, checkpoint), temperature_of(asked, spec))


class Laps:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap on ``stage``."""
        now = time.perf_counter()
        self.book({stage: now - self._last})
        self._last = now

    def book(self, seconds: Mapping[str, float]) -> None:
        """Add what was measured elsewhere; the next lap begins now."""
        for stage, more in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + more
        self.restart()

    def restart(self) -> None:
        """Begin the next lap now: what came before belongs to no stage."""
        self._last = time.perf_counter()


def plan_windows(
    spec: ModelSpec, choice: Choice, device: Device, *, blend: Blend = "gaussian"
) -> sliding.Plan:
    """Return how the windows of a model run."""
    return sliding.Plan(
        size=spec.input.size,
        overlap=spec.input.overlap,
        batch=choice.batch,
        device=device.torch,
        dtype=engines.DTYPES[choice.dtype],
        layout=choice.memory_format(len(spec.input.size)),
        # other engines are made for one shape; a GPU runs a repeated window for next to nothing
        is_full=device.torch.type != "cpu" or choice.engine != "eager",
        blend=blend,
    )


def used_options(plan: sliding.Plan, windows: int) -> dict[str, object]:
    """Return what the run report says of how windows were run."""
    return {
        "device": str(plan.device),
        "dtype": str(plan.dtype).removeprefix("torch."),
        "window": list(plan.size),
        "overlap": plan.overlap,
        "batch": plan.batch,
        "windows": windows,
        "stitched_on": str(plan.stitch_on or plan.device),
    }
