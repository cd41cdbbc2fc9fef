"""Answers by the program of a bundle: a MONAI configuration, run as it states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import nn

from pipeline.config.document import Document
from pipeline.errors import OutOfMemory
from pipeline.models import sliding
from pipeline.models.devices import Device
from pipeline.models.options import ProgramOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.program import fit, flow, handing, reading
from pipeline.models.program.layout import Layout, target
from pipeline.models.program.reading import Answer
from pipeline.models.segmentation import Laps
from pipeline.models.spec import Kind, ModelSpec
from pipeline.results import Prediction
from pipeline.volume import Channels, Input


@dataclass(frozen=True, kw_only=True)
class Program:
    """A configuration and its network, filled and in evaluation mode."""

    document: Document
    layout: Layout
    network: nn.Module


class ProgramPredictor:
    """Run preprocessing, inferer and postprocessing of a configuration; read what they leave."""

    def __init__(self, spec: ModelSpec, program: Program, device: Device, *, why: str) -> None:
        """Take a program; ``why`` says why it runs as it is written."""
        self.spec = spec
        self._why = why
        self._options = ProgramOptions.model_validate(dict(spec.options))
        self._program = program
        self._device = device
        self._network = program.network.to(device.torch)
        inferer = target(program.document, program.layout.inferer)
        self.takes_volume = spec.input.spatial_dims == 3 or inferer == "SliceInferer"

    def predict(self, image: Input | Channels, *, checkpoint: Checkpoint) -> Prediction:
        """Answer as the program states. See ``Predictor.predict``."""
        fit.check(image, self.spec, takes_volume=self.takes_volume)
        self._device.enter_thread()
        clock = Laps()
        answers: list[Answer] = []
        warnings: list[str] = []
        for files in handing.parts(image):
            answer, stepped_down = self._run(files, clock, checkpoint)
            answers.append(answer)
            warnings += stepped_down
        found = reading.read(answers, image, self.spec, self._options)
        clock.lap("postprocess")
        return Prediction(
            findings=tuple(found.findings),
            options={"way": f"as written, because {self._why}", **_used(answers)},
            seconds=clock.seconds,
            warnings=(*dict.fromkeys(warnings), *found.warnings),
            **found.fields,
        )

    def predict_channels(self, channels: Channels, *, checkpoint: Checkpoint) -> Prediction:
        """Answer for several series as one input: see ``TakesChannels``."""
        return self.predict(channels, checkpoint=checkpoint)

    def _run(
        self, files: Mapping[str, Any], clock: Laps, checkpoint: Checkpoint
    ) -> tuple[Answer, list[str]]:
        """Run once; when memory runs out, again in ever more modest ways."""
        warnings: list[str] = []
        for make, way in self._ways(files):
            try:
                run = make()
                return self._once(run, clock, checkpoint), [*run.warnings, *warnings]
            except (RuntimeError, MemoryError) as error:
                if not sliding.is_out_of_memory(error):
                    raise
                warnings.append(f"memory ran out {way}")
            if self._device.torch.type == "cuda":
                torch.cuda.empty_cache()
        raise OutOfMemory("; ".join(warnings))

    def _ways(self, files: Mapping[str, Any]) -> Iterator[tuple[Callable[[], flow.Run], str]]:
        """Yield what makes a run as stated, one that keeps its sums on the CPU, and one there."""
        document, parts = self._program.document, self._program.layout
        device, cpu = self._device.torch, torch.device("cpu")

        def build(network: nn.Module, where: torch.device) -> flow.Run:
            return flow.build(document, parts, files, network, where)

        yield lambda: build(self._network, device), f"on the {device.type}"
        if device.type == "cpu":
            return
        run = build(self._network, device)
        if isinstance(run.inferer, SlidingWindowInferer):
            run.inferer.device = cpu
            run.inferer.sw_device = device
            yield lambda: run, f"on the {device.type}, stitched on the cpu"
        yield lambda: build(sliding.copied(self._network, cpu), cpu), "on the cpu"

    def _once(self, run: flow.Run, clock: Laps, checkpoint: Checkpoint) -> Answer:
        prepared = run.prepare()
        clock.lap("preprocess")
        checkpoint()
        with self._device.hold(checkpoint):
            clock.lap("wait")
            raw = run.infer(
                prepared, checkpoint=checkpoint, as_list=self.spec.kind is Kind.DETECTION
            )
            clock.lap("model")
        checkpoint()
        data = run.finish(prepared, raw)
        clock.lap("postprocess")
        shape = tuple(raw.shape[1:]) if isinstance(raw, torch.Tensor) else ()
        return Answer(run=run, prepared=prepared[flow.IMAGE], data=data, shape=shape)


def _used(answers: list[Answer]) -> dict[str, object]:
    """Return what the run report says of how the program was run."""
    run = answers[-1].run
    return {
        "device": str(run.device),
        "dtype": "float32",
        "amp": run.amp and run.device.type == "cuda",
        "inferer": type(run.inferer).__name__,
        "runs": len(answers),
    }
