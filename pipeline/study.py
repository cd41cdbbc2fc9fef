"""One study through the steps of one analysis: models in, statements out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline import deciding
from pipeline.aligning import aligned
from pipeline.analysis import Analysis, Step
from pipeline.analysis.steps import in_order
from pipeline.answers import Answer, Place, Skipped, StudyResult
from pipeline.clause import Clause
from pipeline.cropping import Part, box_around, mask_of
from pipeline.errors import ComputeFailed, ModelMismatch, StudyRejected
from pipeline.models.predictor import (
    Checkpoint,
    KeepsProbabilities,
    Predictor,
    TakesChannels,
    TakesMany,
)
from pipeline.reasons import Reason
from pipeline.results import Finding, Prediction
from pipeline.volume import Channels, Input, Volume

#: returns seconds that only ever grow
Clock = Callable[[], float]


def analyze(
    analysis: Analysis,
    inputs: Mapping[str, Sequence[Input]],
    predictors: Mapping[str, Predictor],
    *,
    checkpoint: Checkpoint,
    clock: Clock,
) -> StudyResult:
    """Run every step on every one of its inputs, each after the steps it needs.

    A step is skipped on an input where a step that it comes after was, where its condition does
    not hold, or where the mask that it is cropped to is empty and the analysis says so.

    Args:
        analysis: its steps need only others of them, and none itself: that was checked.
        inputs: by the name the steps use; several where an analysis takes each matching series.
        predictors: by step name.
        checkpoint: called before each input of each step (where a predictor takes many together,
            before all) and, by predictors, between windows.
        clock: seconds, e.g. ``time.monotonic``.

    Raises:
        ModelMismatch, OutOfMemory: by a predictor; ModelMismatch where a step is to keep what its
            model does not have, or is cropped to one that has no such mask.
        StudyRejected: the mask that a step is cropped to is empty, and the analysis refuses that.
        Interrupted, DeadlineExceeded: by ``checkpoint``.
        ComputeFailed: a step has no input or no predictor. The documents were checked when they
            were registered, so this is our fault, not the input's.

    """
    run = _Run(analysis, inputs, checkpoint)
    seconds: dict[str, float] = {}
    for step in in_order(analysis.steps):
        predictor = predictors.get(step.name)
        if predictor is None or not all(inputs.get(name) for name in step.inputs):
            raise ComputeFailed(f"step {step.name} has no model or no input", Reason.RUN_ERROR)
        began = clock()
        run.take(step, predictor)
        seconds[step.name] = clock() - began
    return StudyResult(
        answers=tuple(run.answers),
        models={step.name: predictors[step.name].spec for step in analysis.steps},
        seconds=seconds,
        skipped=tuple(run.skipped),
    )


class _NotRun(Exception):
    """The step does not run on this input."""

    def __init__(self, because: str, condition: Clause | None = None) -> None:
        super().__init__(because)
        self.because, self.condition = because, condition


@dataclass(frozen=True, kw_only=True)
class _Question:
    """One input that a step is to answer for."""

    place: Place
    condition: Clause | None
    part: Part | None
    warnings: tuple[str, ...]

    def seen(self) -> Input | Channels:
        """Return what the model sees of the input."""
        given, part = self.place.given, self.part
        if part is None:
            return given
        if isinstance(given, Channels):
            parts = (replace(part, whole=volume) for volume in given.volumes)
            return Channels(volumes=tuple(one.cut() for one in parts))
        return part.cut()


class _Run:
    """The answers so far, and what later steps ask of them."""

    def __init__(
        self, analysis: Analysis, inputs: Mapping[str, Sequence[Input]], checkpoint: Checkpoint
    ) -> None:
        self.answers: list[Answer] = []
        self.skipped: list[Skipped] = []
        self._analysis = analysis
        self._inputs = inputs
        self._checkpoint = checkpoint
        #: several series on one grid, by the names of their inputs: steps share them
        self._channels: dict[tuple[str, ...], Channels] = {}

    def take(self, step: Step, predictor: Predictor) -> None:
        """Run a step on its inputs, or say of each why not."""
        asked = [
            question
            for place in self._places(step)
            if (question := self._ask(step, place)) is not None
        ]
        said = _predict(step, predictor, asked, self._checkpoint)
        for one, prediction in zip(asked, said, strict=True):
            self.answers.append(
                Answer(
                    place=one.place,
                    model=predictor.spec,
                    prediction=prediction if one.part is None else one.part.paste(prediction),
                    condition=one.condition,
                    crop=step.crop,
                    part=one.part,
                    warnings=one.warnings,
                )
            )

    def _places(self, step: Step) -> Iterator[Place]:
        """Yield every input of a step: each series of its one input, or several as channels."""
        names = step.inputs
        if len(names) == 1:
            for position, image in enumerate(self._inputs[names[0]]):
                yield Place(
                    step=step.name, inputs=names, position=position, series=(image,), given=image
                )
            return
        series = {name: self._inputs[name][0] for name in names}
        if names not in self._channels:
            volumes = {name: one for name, one in series.items() if isinstance(one, Volume)}
            self._channels[names] = aligned(
                volumes, policy=self._analysis.policies.channel_grid, checkpoint=self._checkpoint
            )
        given, images = self._channels[names], tuple(series.values())
        yield Place(step=step.name, inputs=names, position=0, series=images, given=given)

    def _ask(self, step: Step, place: Place) -> _Question | None:
        """Return what a step is to answer of one input; None where it is skipped."""
        try:
            condition = self._decide(step, place.position)
            part, warnings = self._part(step, place)
        except _NotRun as why:
            self.skipped.append(Skipped(place=place, because=why.because, condition=why.condition))
            return None
        return _Question(place=place, condition=condition, part=part, warnings=warnings)

    def _decide(self, step: Step, position: int) -> Clause | None:
        """Return the condition of a step as it held; None where it has none.

        Raises:
            _NotRun: it does not hold, or a step that this one comes after was skipped.

        """
        for name in step.after:
            if not self._of(name, step, position):
                raise _NotRun(f"step {name} was skipped")
        if step.when is None:
            return None

        def found(name: str) -> list[Finding]:
            every = self._of(name, step, position)
            return [finding for answer in every for finding in answer.prediction.findings]

        condition = deciding.judge(step.when, found)
        if not condition.holds:
            raise _NotRun(deciding.failure(condition), condition)
        return condition

    def _part(self, step: Step, place: Place) -> tuple[Part | None, tuple[str, ...]]:
        """Return the part of the input that a step sees, None for the whole, and warnings.

        Raises:
            _NotRun, StudyRejected: the mask is empty, and the step is skipped or the job refused.

        """
        crop = step.crop
        if crop is None:
            return None, ()
        image = place.series[0]
        if not isinstance(image, Volume):
            raise ModelMismatch(f"step {step.name} is cropped, and its input is no volume")
        (answer,) = self._of(crop.to, step, place.position)
        try:
            mask = mask_of(answer.prediction, crop.segments)
        except LookupError as missing:
            sentence = f"step {step.name} cannot be cropped to {crop.to}: {missing}"
            raise ModelMismatch(sentence) from None
        box = box_around(mask, image, margin_mm=crop.margin_mm, minimum_voxels=crop.minimum_voxels)
        if box is not None:
            return Part(whole=image, box=box), ()
        sentence = f"the mask of step {crop.to} is empty"
        match crop.empty:
            case "skip":
                raise _NotRun(sentence)
            case "reject":
                raise StudyRejected(sentence, Reason.MODEL_EMPTY_MASK)
            case "whole":
                return None, (f"{sentence}: step {step.name} saw the whole input",)

    def _of(self, name: str, asking: Step, position: int) -> list[Answer]:
        """Return the answers of a step for the same input; all, where it reads another one.

        Of several inputs the first counts: on its grid the answers lie.
        """
        every = [answer for answer in self.answers if answer.step == name]
        first = asking.inputs[0]
        return [one for one in every if one.place.inputs[0] != first or one.position == position]


def _predict(
    step: Step, predictor: Predictor, asked: Sequence[_Question], checkpoint: Checkpoint
) -> Iterator[Prediction]:
    """Answer each question, in order; small inputs together where the predictor takes many."""
    is_one = len(step.inputs) == 1
    if isinstance(predictor, TakesMany) and is_one and asked and not step.keep:
        checkpoint()
        seen = (one.seen() for one in asked)
        images = [image for image in seen if not isinstance(image, Channels)]
        yield from predictor.predict_many(images, checkpoint=checkpoint)
        return
    for one in asked:
        checkpoint()
        yield _predict_one(step, predictor, one.seen(), checkpoint)


def _predict_one(
    step: Step, predictor: Predictor, seen: Input | Channels, checkpoint: Checkpoint
) -> Prediction:
    name = predictor.spec.name
    if isinstance(seen, Channels):
        if step.keep:
            raise ModelMismatch(f"model {name} keeps no probabilities of several series")
        if not isinstance(predictor, TakesChannels):
            raise ModelMismatch(f"model {name} reads one series, not {len(seen.volumes)}")
        return predictor.predict_channels(seen, checkpoint=checkpoint)
    if "probabilities" not in step.keep:
        return predictor.predict(seen, checkpoint=checkpoint)
    if not isinstance(predictor, KeepsProbabilities):
        raise ModelMismatch(f"model {name} has no probabilities per voxel to keep")
    return predictor.predict_with_probabilities(seen, checkpoint=checkpoint)
