"""Networks of two axes over stacks of planes: the frames of an image, the slices of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.asking import Uncertainty
from pipeline.models import checks, measures, preprocess, sliding
from pipeline.models.devices import Device
from pipeline.models.engines import DTYPES
from pipeline.models.options import SegmentationOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.segmentation import Laps, SegmentationPredictor, moments
from pipeline.models.spec import InputSpec, ModelSpec
from pipeline.models.stitching import window_weights
from pipeline.models.tuned import choice_for
from pipeline.models.uncertainty import VoxelUncertainty
from pipeline.results import Prediction
from pipeline.volume import Channels, Image, Input, Volume


class PlaneWise(nn.Module):
    """Lets a network of two axes answer for windows that are one plane thick.

    (batch, channels, 1, rows, columns) becomes (batch, outputs, 1, rows, columns). Windows with
    planes beside the one that is asked for are thicker: these are more channels to the network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        """Answer for each plane by itself."""
        answer: Tensor = self.network(windows.flatten(1, 2))
        return answer[:, :, None]


def stacked(spec: ModelSpec) -> ModelSpec:
    """Return what a model of two axes states, said of windows that are one plane thick."""
    flat = replace(spec.input, spatial_dims=3, size=(1, *spec.input.size))
    return replace(spec, input=flat)


def frames(image: Image, spec: InputSpec) -> tuple[Tensor, float, float]:
    """Return an image (channels, frames, rows, columns), 0 to 1, and what became 0 and 1."""
    pixels = image.pixels
    if pixels.ndim == 4:
        low, high = spec.window or (0.0, 255.0)
        pixels = np.moveaxis(pixels, 3, 0)
    else:
        low, high = spec.window or preprocess.foreground_percentiles(pixels, spec.percentiles)
        pixels = pixels[None]
    values = torch.from_numpy(np.array(pixels, dtype=np.float32, order="C"))
    return values.sub_(low).div_(max(high - low, 1e-12)).clamp_(0, 1), low, high


@dataclass(frozen=True, kw_only=True)
class Tiled:
    """A network's answer for a whole image, put together from windows."""

    #: float32 on the CPU, (outputs, *spatial) with ``scale`` voxels for each of the image
    values: Tensor
    windows: int
    #: the plan that was possible in the end
    plan: sliding.Plan
    #: what had to be stepped down, in sentences
    warnings: tuple[str, ...]


def tile(
    network: nn.Module,
    image: Tensor,
    plan: sliding.Plan,
    *,
    scale: Sequence[int],
    checkpoint: Checkpoint,
    beside: int = 0,
) -> Tiled:
    """Run a network over windows of an image (channels, *spatial) and join what it answers.

    Overlapping answers are weighted as the plan says, as ``sliding`` does. Beyond that, one may
    be finer than its window: ``scale`` voxels for one, along each axis. And a window may show the
    network ``beside`` more planes at both ends of the first axis than it answers for.

    Raises:
        OutOfMemory: memory ran out after every step down.
        ValueError: the network answers with another size.
        Interrupted, DeadlineExceeded: by ``checkpoint``, called between batches.

    """
    padded, inside = sliding.pad(image, plan.size)
    windows = sliding.lay(padded.shape[1:], plan.size, plan.overlap)
    # a copy only where there are neighbours to show
    seen = padded[:, reaching(0, padded.shape[1], beside, padded.shape[1])] if beside else padded
    size = tuple(extent * times for extent, times in zip(plan.size, scale, strict=True))
    whole = [extent * times for extent, times in zip(padded.shape[1:], scale, strict=True)]

    def attempt(tried: sliding.Plan) -> Tensor:
        moved = sliding.on(network, tried, plan)
        weight = window_weights(size, plan.blend, torch.device("cpu"))
        total, weights = torch.zeros(0), torch.zeros(whole)
        for group, pixels in sliding.batches(seen, windows, tried, beside=beside):
            checkpoint()
            answers = moved(pixels).to("cpu", torch.float32)
            if tuple(answers.shape[2:]) != size:
                raise ValueError(f"windows of {plan.size} were answered with {answers.shape[2:]}")
            if not len(total):
                total = torch.zeros((answers.shape[1], *whole))
            for window, answer in zip(group, answers, strict=False):  # the last batch repeats
                place = _finer(window, scale)
                total[(slice(None), *place)].addcmul_(answer, weight)
                weights[place].add_(weight)
        return total.div_(weights)

    values, used, warnings = sliding.step_down(plan, attempt)
    kept = values[(slice(None), *_finer(inside, scale))]
    return Tiled(values=kept, windows=len(windows), plan=used, warnings=warnings)


def reaching(first: int, past: int, beside: int, count: int) -> NDArray[np.int64]:
    """Return the planes from ``first`` on, and ``beside`` more on either side, of ``count``.

    Beyond the first and the last of all planes these stand for their neighbours.
    """
    return np.arange(first - beside, past + beside, dtype=np.int64).clip(0, count - 1)


def _finer(window: sliding.Window, scale: Sequence[int]) -> sliding.Window:
    return tuple(
        slice(part.start * times, part.stop * times)
        for part, times in zip(window, scale, strict=True)
    )


class PlanesPredictor:
    """Label maps by a network of two axes: of images frame by frame, of volumes slice by slice."""

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = SegmentationOptions.model_validate(dict(spec.options))
        self._device = device
        flat = PlaneWise(network)
        self._volumes = SegmentationPredictor(stacked(spec), flat, device)
        self._plan = sliding.Plan(
            size=(1, *spec.input.size),
            overlap=spec.input.overlap,
            batch=self._options.batch or 4,
            device=device.torch,
            dtype=DTYPES[choice_for(spec, device).dtype],
            blend=self._options.blend,
        )
        self._network = flat.to(device.torch, self._plan.dtype)

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with a label map on the grid of the input. See ``Predictor.predict``."""
        if isinstance(image, Volume):
            return self._volumes.predict(image, checkpoint=checkpoint)
        return self._predict(image, checkpoint, keeps=False)

    def predict_with_probabilities(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with one map per label too: see ``KeepsProbabilities``."""
        if isinstance(image, Volume):
            return self._volumes.predict_with_probabilities(image, checkpoint=checkpoint)
        return self._predict(image, checkpoint, keeps=True)

    def predict_with_uncertainty(
        self, image: Input | Channels, asked: Uncertainty, *, checkpoint: Checkpoint
    ) -> Prediction:
        """Answer with the labels of the mean of all samples: see ``SaysHowSure``."""
        # mirrored in the plane, by the network's own two axes
        network = PlaneWise(moments(self._network.network, self.spec, asked, checkpoint))
        if not isinstance(image, Image):
            return self._volumes.predict_by_moments(image, network, asked, checkpoint=checkpoint)
        picture = checks.picture(image, self.spec)
        shape = picture.pixels.shape[:3]
        doubts = VoxelUncertainty(shape, asked)
        tiled, clock = self._tile(picture, network, checkpoint)
        whole = slice(None)
        labels = np.stack(
            [
                doubts.read((number, whole, whole), tiled.values[:, number]).numpy()
                for number in range(shape[0])
            ]
        )
        return doubts.added_to(self._stated(picture, labels, tiled, clock))

    def _predict(self, image: Input, checkpoint: Checkpoint, *, keeps: bool) -> Prediction:
        picture = checks.picture(image, self.spec)
        tiled, clock = self._tile(picture, self._network, checkpoint)
        labels = tiled.values.argmax(0).to(torch.uint8).numpy()
        answer = self._stated(picture, labels, tiled, clock)
        if not keeps:
            return answer
        likely = tiled.values.softmax(0).numpy()
        return replace(answer, maps=measures.probability_maps(likely, self.spec.labels))

    def _tile(
        self, picture: Image, network: nn.Module, checkpoint: Checkpoint
    ) -> tuple[Tiled, Laps]:
        """Run a network over an image; return what it answers, and the clock."""
        self._device.enter_thread()
        clock = Laps()
        values, _, _ = frames(picture, self.spec.input)
        clock.lap("preprocess")
        with self._device.hold(checkpoint):
            clock.lap("wait")
            tiled = tile(network, values, self._plan, scale=(1, 1, 1), checkpoint=checkpoint)
        clock.lap("model")
        sliding.require_finite(tiled.values, self.spec)
        return tiled, clock

    def _stated(
        self,
        picture: Image,
        labels: NDArray[np.uint8],
        tiled: Tiled,
        clock: Laps,
    ) -> Prediction:
        clock.lap("inverse")
        return Prediction(
            findings=measures.segments(labels, picture, self.spec.labels),
            label_map=labels,
            options=used_options(tiled),
            seconds=clock.seconds,
            warnings=tiled.warnings,
        )


def used_options(tiled: Tiled) -> dict[str, object]:
    """Return what the run report says of how windows were run."""
    return {
        "device": str(tiled.plan.device),
        "dtype": str(tiled.plan.dtype).removeprefix("torch."),
        "window": list(tiled.plan.size),
        "overlap": tiled.plan.overlap,
        "batch": tiled.plan.batch,
        "windows": tiled.windows,
    }
