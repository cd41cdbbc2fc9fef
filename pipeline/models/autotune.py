"""The fastest way to compute a network on a device, measured once and kept.

The rule. Memory layout, windows at once, engine and threads change a logit in its last digits
alone, so they may be chosen for any model. The number format changes labels of some voxels, so it
is chosen only for a model whose bundle says ``"dtype": "auto"``; any other keeps the one it states.
Every candidate is held against the eager float32 network on the same windows, and refused where its
labels or its logits differ by more than stated below. Where all are refused, the model runs in the
format it states and as if nothing had been measured.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn

from pipeline.models import averaging, engines, weights
from pipeline.models.bundle import Bundle
from pipeline.models.devices import Device
from pipeline.models.engines import Choice
from pipeline.models.program import loading
from pipeline.models.program.lowering import NotLowered
from pipeline.models.spec import Kind, ModelSpec
from pipeline.models.tuned import Cache, Trial, Tuned, key_of

#: share of voxels whose label must be that of eager float32
LEAST_AGREEMENT: Final = {"float32": 0.9999, "bfloat16": 0.995, "float16": 0.995}
#: largest error of a logit, as a share of the largest logit
LARGEST_ERROR: Final = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.1}
#: a candidate must be so much faster than the best before it: less is the noise of a machine
LEAST_GAIN: Final = 0.05
BATCHES: Final = (1, 2, 4, 8)
_REPEATS: Final = 3


def tune_bundle(
    bundle: Bundle,
    device: Device,
    cache: Cache,
    *,
    seconds: float = 60.0,
    sample: Tensor | None = None,
) -> Tuned:
    """Measure how a segmentation model runs fastest here, and keep it.

    Args:
        bundle: the model.
        device: where it will run; hold nothing else on it meanwhile.
        cache: where the answer is kept.
        seconds: after which no further candidate is begun.
        sample: windows to measure on, float32 (n, channels, *window), 0 to 1; None = smooth noise.

    Raises:
        NotTuned: the model does not run in windows of one size.
        BundleRefused: it cannot be loaded.

    """
    spec, network = _subject(bundle)
    windows = smooth_noise((spec.input.channels, *spec.input.size)) if sample is None else sample
    tuned = tune(network, windows, device, dtypes=_dtypes(spec, device), seconds=seconds)
    cache.keep(key_of(spec, device), tuned)
    return tuned


def _subject(bundle: Bundle) -> tuple[ModelSpec, nn.Module]:
    """Return what ``SegmentationPredictor`` is given of a bundle."""
    if bundle.spec.kind is not Kind.SEGMENTATION or bundle.spec.input.spatial_dims != 3:
        raise NotTuned(
            f"model {bundle.spec.name} is no segmentation of volumes, which alone are tuned"
        )
    if bundle.spec.program is None:
        return bundle.spec, averaging.wrap(bundle.spec, weights.load(bundle))
    try:
        return loading.lowered(bundle)
    except NotLowered as why:
        sentence = f"model {bundle.spec.name} runs as its program is written, because {why}"
        raise NotTuned(sentence) from None


def tune(
    network: nn.Module,
    sample: Tensor,
    device: Device,
    *,
    dtypes: tuple[str, ...] = ("float32",),
    seconds: float = 60.0,
) -> Tuned:
    """Time candidates, one property after the other, and return the fastest that agrees.

    Args:
        network: on the CPU, float32, in evaluation mode; answers (n, outputs, *window). Unchanged.
        sample: float32 (n, channels, *window).
        device: where candidates run.
        dtypes: number formats that may be chosen; the first is the one to start from.
        seconds: after which no further candidate is begun.

    """
    ends = time.perf_counter() + seconds
    bench = _Bench(network, sample, device)
    trials = [bench.trial(engines.default(device).model_copy(update={"dtype": dtypes[0]}))]
    best = trials[0]
    for make in (_formats, _batches, _engines, _threads):
        for choice in make(best.choice, device, dtypes):
            if time.perf_counter() > ends:
                break
            trials.append(bench.trial(choice))
            if trials[-1].is_gain:
                best = trials[-1]
    return Tuned(choice=best.choice, trials=tuple(trials))


def smooth_noise(window: tuple[int, ...], count: int = 2) -> Tensor:
    """Return seeded windows (count, *window) of 0 to 1 in which neighbours resemble each other."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((count, *window), generator=generator)
    pool = nn.functional.avg_pool2d if len(window) == 3 else nn.functional.avg_pool3d
    coarse = pool(noise, 5, stride=1, padding=2)
    low, high = coarse.amin(), coarse.amax()
    return (coarse - low) / (high - low)


class NotTuned(ValueError):
    """The model runs in one way only."""


class _Bench:
    """The reference that candidates are held against, and the best of them so far.

    A candidate and the best are timed in turns, since other work on the machine comes and goes.
    """

    def __init__(self, network: nn.Module, sample: Tensor, device: Device) -> None:
        self._network, self._sample, self._device = network, sample, device
        self._expected = self._answers(copy.deepcopy(network).to(device.torch), None)
        self._best: tuple[nn.Module, Choice] | None = None

    def trial(self, choice: Choice) -> Trial:
        """Check and time one candidate. One that cannot run is refused, whatever it raised."""
        try:
            window = tuple(self._sample.shape[1:])
            own = copy.deepcopy(self._network)
            network = engines.prepare(own, choice, self._device, window)
            agreement, error = self._compare(self._answers(network, choice))
            seconds, rival = self._race(network, choice)
        # compilers and engines raise what they like, and none of it may stop the tuning
        except Exception as failed:  # noqa: BLE001
            return Trial(choice=choice, refused=f"does not run: {type(failed).__name__}")
        refused = ""
        if agreement < LEAST_AGREEMENT[choice.dtype]:
            refused = f"{agreement:.4%} of the labels agree with float32"
        elif not error <= LARGEST_ERROR[choice.dtype]:
            refused = f"a logit is off by {error:.2g} of the largest"
        is_gain = not refused and seconds < rival * (1 - LEAST_GAIN)
        if is_gain or self._best is None:
            self._best = network, choice
        return Trial(
            choice=choice,
            seconds=seconds,
            rival=None if rival == float("inf") else rival,
            agreement=agreement,
            error=error,
            refused=refused,
            is_gain=is_gain,
        )

    def _race(self, network: nn.Module, choice: Choice) -> tuple[float, float]:
        """Return seconds per window of a candidate and of the best so far, the least of a few.

        Noise only ever adds to a time.
        """
        mine, others = [], [float("inf")]
        for _ in range(_REPEATS):
            mine.append(self._once(network, choice))
            if self._best is not None:
                others.append(self._once(*self._best))
        return min(mine), min(others)

    def _once(self, network: nn.Module, choice: Choice) -> float:
        """Return seconds per window of one batch."""
        pixels = self._batch(self._sample[: choice.batch], choice)
        began = time.perf_counter()
        self._call(network, pixels, choice.threads)
        if self._device.torch.type == "cuda":
            torch.cuda.synchronize(self._device.torch)
        return (time.perf_counter() - began) / choice.batch

    def _answers(self, network: nn.Module, choice: Choice | None) -> Tensor:
        """Return the float32 logits of the sample, on the CPU."""
        size = 1 if choice is None else choice.batch
        found = []
        for first in range(0, len(self._sample), size):
            part = self._sample[first : first + size]
            threads = self._device.threads if choice is None else choice.threads
            answer = self._call(network, self._batch(part, choice), threads)
            found.append(answer[: len(part)].float().cpu())
        return torch.cat(found)

    def _batch(self, windows: Tensor, choice: Choice | None) -> Tensor:
        """Return windows as the network will get them, the last repeated to a full batch."""
        if choice is None:
            return windows.to(self._device.torch)
        missing = choice.batch - len(windows)
        full = torch.cat([windows, windows[-1:].expand(missing, *windows.shape[1:])])
        layout = choice.memory_format(windows.ndim - 2)
        full = full.to(self._device.torch, engines.DTYPES[choice.dtype])
        return full.contiguous(memory_format=layout)

    def _compare(self, found: Tensor) -> tuple[float, float]:
        """Return the share of equal labels and the largest error of a logit."""
        expected = self._expected
        one, two = (
            logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)
            for logits in (expected, found)
        )
        error = (found - expected).abs().amax() / expected.abs().amax().clamp(min=1e-12)
        return float((one == two).float().mean()), float(error)

    def _call(self, network: nn.Module, pixels: Tensor, threads: int) -> Tensor:
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                answer: Tensor = network(pixels)
        finally:
            torch.set_num_threads(self._device.threads)
        return answer


def _formats(best: Choice, _: Device, dtypes: tuple[str, ...]) -> Iterator[Choice]:
    for dtype in dtypes:
        for layout in ("contiguous", "channels_last"):
            choice = best.model_copy(update={"dtype": dtype, "layout": layout})
            if choice != best:
                yield choice


def _batches(best: Choice, _: Device, __: tuple[str, ...]) -> Iterator[Choice]:
    return (best.model_copy(update={"batch": size}) for size in BATCHES if size != best.batch)


def _engines(best: Choice, device: Device, _: tuple[str, ...]) -> Iterator[Choice]:
    found = engines.available(device)
    return (best.model_copy(update={"engine": one}) for one in found if one != best.engine)


def _threads(best: Choice, device: Device, _: tuple[str, ...]) -> Iterator[Choice]:
    half = device.threads // 2
    if device.torch.type == "cpu" and half:
        yield best.model_copy(update={"threads": half})


def _dtypes(spec: ModelSpec, device: Device) -> tuple[str, ...]:
    """Return the number formats a model allows on a device, the one to start from first."""
    stated = str(spec.options.get("dtype", "float32"))
    if stated != "auto":
        return (stated,)
    if device.torch.type == "cuda":
        return ("float32", "bfloat16", "float16")
    return ("float32", "bfloat16") if has_fast_bfloat16() else ("float32",)


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself, AVX512-BF16 or AMX."""
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
