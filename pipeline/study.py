"""One study through the steps of one analysis: models in, statements out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline import deciding, questions
from pipeline.analysis import Analysis, Step
from pipeline.analysis.steps import in_order
from pipeline.answers import Answer, Place, Skipped, StudyResult
from pipeline.clause import Clause
from pipeline.cropping import Part, box_around, mask_of
from pipeline.errors import ComputeFailed, ModelMismatch, StudyRejected
from pipeline.models.predictor import Checkpoint, Predictor, TakesMany
from pipeline.places import Places
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
        if predictor is None or not _is_fed(step, analysis, inputs):
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


def _is_fed(step: Step, analysis: Analysis, inputs: Mapping[str, Sequence[Input]]) -> bool:
    """Say whether a step has something to read, and all that it cannot do without."""
    read = {name: inputs.get(analysis.origin(name)) for name in step.inputs}
    needed = (series for name, series in read.items() if not analysis.rule(name).optional)
    return any(read.values()) and all(needed)


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
            return replace(given, volumes=tuple(one.cut() for one in parts))
        return part.cut()

    def on_source(self, prediction: Prediction) -> Prediction:
        """Return what was said of what the model saw, on the grid of the series."""
        if self.part is not None:
            prediction = self.part.paste(prediction)
        prepared = self.place.prepared.get(self.place.there[0])
        return prediction if prepared is None else prepared.back(prediction)


class _Run:
    """The answers so far, and what later steps ask of them."""

    def __init__(
        self, analysis: Analysis, inputs: Mapping[str, Sequence[Input]], checkpoint: Checkpoint
    ) -> None:
        self.answers: list[Answer] = []
        self.skipped: list[Skipped] = []
        self._analysis = analysis
        self._places = Places(analysis, inputs, checkpoint)
        self._checkpoint = checkpoint

    def take(self, step: Step, predictor: Predictor) -> None:
        """Run a step on its inputs, or say of each why not."""
        asked = [
            question
            for place in self._places.of(step)
            if (question := self._ask(step, place)) is not None
        ]
        said = _predict(step, predictor, asked, self._checkpoint)
        for one, prediction in zip(asked, said, strict=True):
            self.answers.append(
                Answer(
                    place=one.place,
                    model=predictor.spec,
                    prediction=one.on_source(prediction),
                    condition=one.condition,
                    crop=step.crop,
                    part=one.part,
                    warnings=one.warnings,
                )
            )

    def _ask(self, step: Step, place: Place) -> _Question | None:
        """Return what a step is to answer of one input; None where it is skipped."""
        try:
            condition = self._decide(step, place.position)
            place = self._places.given(place)
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
        image = place.first
        if not isinstance(image, Volume):
            raise ModelMismatch(f"step {step.name} is cropped, and its input is no volume")
        (answer,) = self._of(crop.to, step, place.position)
        try:
            mask = mask_of(answer.prediction, crop.segments)
        except LookupError as missing:
            sentence = f"step {step.name} cannot be cropped to {crop.to}: {missing}"
            raise ModelMismatch(sentence) from None
        if prepared := place.prepared.get(place.there[0]):
            mask = prepared.forth(mask)
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
        origin = self._analysis.origin
        first = origin(asking.inputs[0])
        return [
            one for one in every if origin(one.place.inputs[0]) != first or one.position == position
        ]


def _predict(
    step: Step, predictor: Predictor, asked: Sequence[_Question], checkpoint: Checkpoint
) -> Iterator[Prediction]:
    """Answer each question, in order; small inputs together where the predictor takes many."""
    is_one = len(step.inputs) == 1
    is_plain = not (step.keep or step.uncertainty or step.explain)
    if isinstance(predictor, TakesMany) and is_one and asked and is_plain:
        checkpoint()
        seen = (one.seen() for one in asked)
        images = [image for image in seen if not isinstance(image, Channels)]
        yield from predictor.predict_many(images, checkpoint=checkpoint)
        return
    for one in asked:
        checkpoint()
        yield questions.ask(step, predictor, one.seen(), checkpoint=checkpoint)
