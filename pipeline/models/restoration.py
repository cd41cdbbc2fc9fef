"""Images computed from images: denoised, enhanced, of higher resolution, in the input's unit."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models import checks, planes, preprocess, sliding
from pipeline.models.devices import Device
from pipeline.models.engines import DTYPES
from pipeline.models.grids import Grid
from pipeline.models.options import RestorationOptions
from pipeline.models.planes import PlaneWise, Tiled
from pipeline.models.predictor import Checkpoint
from pipeline.models.segmentation import Laps
from pipeline.models.spec import ModelSpec
from pipeline.results import DerivedImage, Prediction
from pipeline.volume import Image, Input, Volume


class RestorationPredictor:
    """Prepare, run windows, put the values back into the unit and the place of the input.

    A network of two axes runs over each frame of an image or each slice of a volume, and is finer
    within them alone. Values beyond ``input.window`` are held at its ends, as the network saw them.
    """

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = RestorationOptions.model_validate(dict(spec.options))
        self._device = device
        is_flat = spec.input.spatial_dims == 2
        finer = self._options.scale
        self._scale = (1, finer, finer) if is_flat else (finer, finer, finer)
        self._plan = sliding.Plan(
            size=(1, *spec.input.size) if is_flat else spec.input.size,
            overlap=spec.input.overlap,
            batch=self._options.batch or 2,
            device=device.torch,
            dtype=DTYPES[self._options.dtype],
        )
        beside = self._options.beside
        answering = Residual(network, finer, beside) if self._options.residual else network
        built = PlaneWise(answering) if is_flat else answering
        self._network = built.to(device.torch, self._plan.dtype)

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with one derived image. See ``Predictor.predict``."""
        self._device.enter_thread()
        clock = Laps()
        if isinstance(image, Volume) or self.spec.input.spatial_dims == 3:
            volume = checks.volume(image, self.spec)
            prepared = preprocess.prepare(volume, self.spec.input)
            low, high, warnings = preprocess.value_range(volume, self.spec.input)
            clock.lap("preprocess")
            tiled = self._tile(prepared.image[None], clock, checkpoint)
            derived = _on_axes(self._name, tiled.values[0].numpy(), volume, prepared.grid)
        else:
            picture, warnings = checks.picture(image, self.spec), ()
            values, low, high = planes.frames(picture, self.spec.input)
            clock.lap("preprocess")
            tiled = self._tile(values, clock, checkpoint)
            derived = _of_frames(self._name, tiled.values.numpy(), picture)
        derived.values[...] = derived.values * np.float32(high - low) + np.float32(low)
        clock.lap("inverse")
        return Prediction(
            findings=(),
            derived=(derived,),
            options={**planes.used_options(tiled), "scale": list(self._scale)},
            seconds=clock.seconds,
            warnings=(*warnings, *tiled.warnings),
        )

    @property
    def _name(self) -> str:
        return self.spec.title[:64]

    def _tile(self, values: Tensor, clock: Laps, checkpoint: Checkpoint) -> Tiled:
        with self._device.hold(checkpoint):
            clock.lap("wait")
            tiled = planes.tile(
                self._network,
                values,
                self._plan,
                scale=self._scale,
                checkpoint=checkpoint,
                beside=self._options.beside,
            )
        clock.lap("model")
        sliding.require_finite(tiled.values, self.spec)
        return tiled


class Residual(nn.Module):
    """Adds what a network answers to its input, stretched linearly where the answer is finer.

    Of an input with planes beside it, as channels, the middle one is meant.
    """

    def __init__(self, network: nn.Module, scale: int, beside: int = 0) -> None:
        super().__init__()
        self.network = network
        self._scale = scale
        self._middle = slice(beside, None, 2 * beside + 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Return input and answer, summed."""
        answer: Tensor = self.network(windows)
        middle = windows[:, self._middle]
        if self._scale == 1:
            return middle + answer
        mode = "bilinear" if windows.ndim == 4 else "trilinear"
        return F.interpolate(middle, scale_factor=self._scale, mode=mode) + answer


def _on_axes(name: str, values: NDArray[np.float32], volume: Volume, grid: Grid) -> DerivedImage:
    """Turn an answer on the network's axes back to (slices, rows, columns), with its affine.

    Voxels of an answer that is finer share the space of one voxel of the grid: their first and last
    edges are its edges, so the centre of voxel ``k`` lies at ``(k + 0.5) / scale - 0.5``.
    """
    scale = [have / count for have, count in zip(values.shape, grid.shape, strict=True)]
    affine = np.eye(4)
    affine[:3, :3] = volume.affine[:3, :3]
    first = np.zeros(3)
    for axis, source in enumerate(grid.axes):
        ends = np.array([0.0, values.shape[axis] - 1.0])
        if grid.flips[axis]:
            values = np.flip(values, axis)
            ends = ends[::-1]
        inner = grid.to_source(axis, (np.array([ends[0], ends[0] + 1]) + 0.5) / scale[axis] - 0.5)
        first[source] = inner[0]
        affine[:3, source] *= abs(inner[1] - inner[0])
    affine[:3, 3] = volume.to_patient(first)
    turned = np.ascontiguousarray(values.transpose(np.argsort(grid.axes)))
    return DerivedImage(name=name, values=turned, affine=affine)


def _of_frames(name: str, values: NDArray[np.float32], image: Image) -> DerivedImage:
    """Put channels last where there are three; an image has no place in the patient."""
    turned = np.moveaxis(values, 0, 3) if image.pixels.ndim == 4 else values[0]
    return DerivedImage(name=name, values=np.ascontiguousarray(turned), affine=None)
