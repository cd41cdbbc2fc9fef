"""One study through the steps of one analysis: models in, statements and a run report out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.errors import ComputeFailed, ModelMismatch
from pipeline.models.predictor import Checkpoint, KeepsProbabilities, Predictor
from pipeline.models.spec import ModelSpec
from pipeline.reasons import Reason
from pipeline.results import Prediction
from pipeline.volume import Input

#: returns seconds that only ever grow
Clock = Callable[[], float]


class Step(Protocol):
    """What is needed of a step of an analysis: ``pipeline.analysis.Step`` has it."""

    @property
    def name(self) -> str:
        """The step's name, unique in its analysis."""
        ...

    @property
    def input(self) -> str:
        """The name of the input it runs on."""
        ...

    @property
    def needs(self) -> Sequence[str]:
        """Names of the steps that must have run before."""
        ...

    @property
    def keep(self) -> Sequence[str]:
        """What the model makes on the way and is to hand out: 'probabilities'."""
        ...


class Steps(Protocol):
    """What is needed of an analysis."""

    @property
    def steps(self) -> Sequence[Step]:
        """Every step, in the order of the document."""
        ...


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one step says of one input."""

    step: str
    model: ModelSpec
    input: str
    #: place among the step's inputs, from 0
    position: int
    image: Input = field(repr=False)
    prediction: Prediction = field(repr=False)

    @property
    def series_instance_uid(self) -> str | None:
        """The series the input was read from, where that is known."""
        return None if self.image.header is None else self.image.header.series_instance_uid


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """All that an analysis says of a study, in the order the steps ran."""

    answers: tuple[Answer, ...]
    #: step -> seconds
    seconds: Mapping[str, float]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning of inputs and predictions once, in order."""
        found = [
            warning
            for answer in self.answers
            for warning in (*answer.image.warnings, *answer.prediction.warnings)
        ]
        return tuple(dict.fromkeys(found))

    def of(self, step: str) -> tuple[Answer, ...]:
        """Return the answers of one step."""
        return tuple(answer for answer in self.answers if answer.step == step)

    def report(self) -> dict[str, Any]:
        """Return this module's part of the run report: JSON values, no patient data."""
        steps = []
        for name in self.seconds:
            answers = self.of(name)
            model = answers[0].model
            steps.append(
                {
                    "step": name,
                    "model": model.name,
                    "version": model.version,
                    "digest": model.digest,
                    "kind": model.kind.value,
                    "demonstration": model.is_demonstration,
                    "seconds": round(self.seconds[name], 4),
                    "inputs": [_input_report(answer) for answer in answers],
                }
            )
        return {"steps": steps, "stages": self.stages(), "warnings": list(self.warnings)}

    def stages(self) -> dict[str, float]:
        """Return seconds by stage over all steps and inputs: preprocess, wait, model, inverse."""
        total: dict[str, float] = {}
        for answer in self.answers:
            for stage, seconds in answer.prediction.seconds.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return {stage: round(seconds, 4) for stage, seconds in total.items()}


def analyze(
    analysis: Steps,
    inputs: Mapping[str, Sequence[Input]],
    predictors: Mapping[str, Predictor],
    *,
    checkpoint: Checkpoint,
    clock: Clock,
) -> StudyResult:
    """Run every step on every one of its inputs, each after the steps it needs.

    Args:
        analysis: the steps.
        inputs: by the name the steps use; several where an analysis takes each matching series.
        predictors: by step name.
        checkpoint: called before each input of each step and, by predictors, between windows.
        clock: seconds, e.g. ``time.monotonic``.

    Raises:
        ModelMismatch, OutOfMemory: by a predictor; ModelMismatch where a step is to keep what its
            model does not have.
        Interrupted, DeadlineExceeded: by ``checkpoint``.
        ComputeFailed: a step has no input or no predictor, or steps wait for each other. The
            documents were checked when they were registered, so this is our fault, not the input's.

    """
    answers: list[Answer] = []
    seconds: dict[str, float] = {}
    for step in in_order(analysis.steps):
        images, predictor = inputs.get(step.input, ()), predictors.get(step.name)
        if predictor is None or not images:
            raise ComputeFailed(f"step {step.name} has no model or no input", Reason.RUN_ERROR)
        began = clock()
        for position, image in enumerate(images):
            checkpoint()
            answers.append(
                Answer(
                    step=step.name,
                    model=predictor.spec,
                    input=step.input,
                    position=position,
                    image=image,
                    prediction=_predict(step, predictor, image, checkpoint),
                )
            )
        seconds[step.name] = clock() - began
    return StudyResult(answers=tuple(answers), seconds=seconds)


def _predict(step: Step, predictor: Predictor, image: Input, checkpoint: Checkpoint) -> Prediction:
    if "probabilities" not in step.keep:
        return predictor.predict(image, checkpoint=checkpoint)
    if not isinstance(predictor, KeepsProbabilities):
        sentence = f"model {predictor.spec.name} has no probabilities per voxel to keep"
        raise ModelMismatch(sentence)
    return predictor.predict_with_probabilities(image, checkpoint=checkpoint)


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Return the steps so that each comes after all it needs, else in the order given.

    Raises:
        ComputeFailed: a step needs itself, in however many steps, or one that does not exist.

    """
    waiting, ordered = list(steps), list[Step]()
    done: set[str] = set()
    while waiting:
        ready = next((step for step in waiting if done.issuperset(step.needs)), None)
        if ready is None:
            names = ", ".join(step.name for step in waiting)
            raise ComputeFailed(f"these steps wait for each other: {names}", Reason.RUN_ERROR)
        waiting.remove(ready)
        ordered.append(ready)
        done.add(ready.name)
    return ordered


def _input_report(answer: Answer) -> dict[str, Any]:
    return {
        "series_instance_uid": answer.series_instance_uid,
        "options": dict(answer.prediction.options),
        "seconds": {
            stage: round(seconds, 4) for stage, seconds in answer.prediction.seconds.items()
        },
        "warnings": [*answer.image.warnings, *answer.prediction.warnings],
    }
