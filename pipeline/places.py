"""What the steps of an analysis are given of a study: series, prepared and on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.aligning import aligned
from pipeline.analysis import Analysis, Step
from pipeline.answers import Place
from pipeline.models.predictor import Checkpoint
from pipeline.preprocess.preparing import Prepared, prepare
from pipeline.volume import Channels, Input, Volume


class Places:
    """The inputs of every step. What is made of them is made once, when a step first needs it."""

    def __init__(
        self, analysis: Analysis, inputs: Mapping[str, Sequence[Input]], checkpoint: Checkpoint
    ) -> None:
        """Take the series by the names of the inputs they were read for."""
        self._analysis = analysis
        self._inputs = inputs
        self._checkpoint = checkpoint
        #: several series on one grid, by the names of their inputs
        self._channels: dict[tuple[str, ...], Channels] = {}
        #: by name and position
        self._prepared: dict[tuple[str, int], Prepared] = {}

    def of(self, step: Step) -> Iterator[Place]:
        """Yield every input of a step as it was read: each series of one, or one of each."""
        read = {name: self._inputs[self._analysis.origin(name)] for name in step.inputs}
        missing = tuple(name for name, series in read.items() if not series)
        named = [series for series in read.values() if series]
        for position, series in enumerate(zip(*named, strict=True)):
            yield Place(
                step=step.name,
                inputs=step.inputs,
                position=position,
                series=series,
                given=series[0],
                missing=missing,
            )

    def given(self, place: Place) -> Place:
        """Return an input with what the model is given: prepared, and several on one grid.

        Raises:
            StudyRejected: several series do not come onto one grid, see ``aligning.aligned``.
            ModelMismatch: an image step cannot work on a series.
            Interrupted, DeadlineExceeded: by the checkpoint.

        """
        series = dict(zip(place.there, place.series, strict=True))
        prepared = {
            name: self._prepare(name, place.position, image)
            for name, image in series.items()
            if name in self._analysis.prepare
        }
        images = {
            name: prepared[name].image if name in prepared else series[name] for name in series
        }
        if len(place.inputs) == 1:
            return replace(place, given=images[place.inputs[0]], prepared=prepared)
        if place.inputs not in self._channels:
            volumes = {name: one for name, one in images.items() if isinstance(one, Volume)}
            channels = aligned(
                volumes, policy=self._analysis.policies.channel_grid, checkpoint=self._checkpoint
            )
            present = tuple(name in series for name in place.inputs)
            self._channels[place.inputs] = replace(channels, present=present)
        return replace(place, given=self._channels[place.inputs], prepared=prepared)

    def _prepare(self, name: str, position: int, image: Input) -> Prepared:
        if (name, position) not in self._prepared:
            steps = self._analysis.prepare[name].steps
            self._prepared[name, position] = prepare(image, steps, checkpoint=self._checkpoint)
        return self._prepared[name, position]
