"""What an analysis says of a study: answers, skipped steps, and their part of the run report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.analysis.steps import Crop
from pipeline.clause import Clause
from pipeline.cropping import Part
from pipeline.models.spec import ModelSpec
from pipeline.preprocess.preparing import Prepared
from pipeline.results import Prediction
from pipeline.volume import Channels, Input


@dataclass(frozen=True, kw_only=True)
class Place:
    """One input of one step: a series, or several as its channels."""

    step: str
    #: names of the inputs that the step reads, in the order of the channels
    inputs: tuple[str, ...]
    #: place among the step's inputs, from 0
    position: int
    #: as they were read, one for each name that is not missing
    series: tuple[Input, ...] = field(repr=False)
    #: what the step is to answer for: the series, or several on the grid of the first
    given: Input | Channels = field(repr=False)
    #: optional inputs that the study has no series for
    missing: tuple[str, ...] = ()
    #: what image steps made of the series, by the names of the inputs that they make ready
    prepared: Mapping[str, Prepared] = field(default_factory=dict, repr=False)

    @property
    def there(self) -> tuple[str, ...]:
        """The names of the inputs that the study has a series for."""
        return tuple(name for name in self.inputs if name not in self.missing)

    @property
    def first(self) -> Input:
        """The first of what the model is given, on whose grid it answers."""
        given = self.given
        return given.volumes[0] if isinstance(given, Channels) else given

    @property
    def image(self) -> Input:
        """The series on whose grid answers lie. Of several its header names the others beside."""
        first, *others = self.series
        # the same series can be there under several names, each time prepared in another way
        headers = {
            one.header.series_instance_uid: one.header
            for one in others
            if one is not first and one.header is not None
        }
        if first.header is None or not headers:
            return first
        return replace(first, header=replace(first.header, beside=tuple(headers.values())))

    @property
    def series_instance_uid(self) -> str | None:
        """The series that answers lie on, where that is known."""
        return _uid(self.series[0])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning of what the step is given, once."""
        given = self.given
        every = given.volumes if isinstance(given, Channels) else (given,)
        lacking = [f"there is no series for the optional input {name}" for name in self.missing]
        said = (warning for one in every for warning in one.warnings)
        return tuple(dict.fromkeys((*lacking, *said)))

    def report(self) -> dict[str, Any]:
        """Return the series and what was made of them, JSON values.

        ``channels`` is empty where the step reads one, ``missing`` where it has all,
        ``prepared`` where none was made ready.
        """
        uids = dict(zip(self.there, map(_uid, self.series), strict=True))
        channels = [{"input": name, "series_instance_uid": uids.get(name)} for name in self.inputs]
        return {
            "series_instance_uid": self.series_instance_uid,
            "channels": channels if len(self.inputs) > 1 else [],
            "missing": list(self.missing),
            "prepared": [{"input": name, **one.report()} for name, one in self.prepared.items()],
        }


def _uid(image: Input) -> str | None:
    return None if image.header is None else image.header.series_instance_uid


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one step says of one input. Also where it saw a part of it, it speaks of the whole."""

    place: Place
    model: ModelSpec
    prediction: Prediction = field(repr=False)
    #: the condition that held
    condition: Clause | None = None
    crop: Crop | None = None
    #: what the model saw of the input; None = the whole
    part: Part | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def step(self) -> str:
        """The step that answers."""
        return self.place.step

    @property
    def position(self) -> int:
        """Place of the input among those of the step, from 0."""
        return self.place.position

    @property
    def image(self) -> Input:
        """The whole input, of several series the first: see ``Place.image``."""
        return self.place.image

    @property
    def series_instance_uid(self) -> str | None:
        """The series the input was read from, where that is known."""
        return self.place.series_instance_uid


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A step that did not run on one input, and why."""

    place: Place
    because: str
    #: the condition that did not hold
    condition: Clause | None = None


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """All that an analysis says of a study, in the order the steps ran."""

    answers: tuple[Answer, ...]
    #: step -> the model it is bound to
    models: Mapping[str, ModelSpec]
    #: step -> seconds
    seconds: Mapping[str, float]
    skipped: tuple[Skipped, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning of inputs and predictions once, in order."""
        return tuple(
            dict.fromkeys(warning for answer in self.answers for warning in _warnings(answer))
        )

    def of(self, step: str) -> tuple[Answer, ...]:
        """Return the answers of one step."""
        return tuple(answer for answer in self.answers if answer.step == step)

    def report(self) -> dict[str, Any]:
        """Return this module's part of the run report: JSON values, no patient data."""
        steps = []
        for name, seconds in self.seconds.items():
            model, answers = self.models[name], self.of(name)
            skipped = [one for one in self.skipped if one.place.step == name]
            steps.append(
                {
                    "step": name,
                    "ran": bool(answers),
                    "model": model.name,
                    "version": model.version,
                    "digest": model.digest,
                    "kind": model.kind.value,
                    "demonstration": model.is_demonstration,
                    "seconds": round(seconds, 4),
                    "inputs": [_input_report(answer) for answer in answers],
                    "skipped": [_skip_report(one) for one in skipped],
                }
            )
        return {
            "steps": steps,
            "stages": self.stages(),
            "floor": self.floor(),
            "warnings": list(self.warnings),
        }

    def floor(self) -> dict[str, float | None]:
        """Say how near the steps came to their models' own speed.

        Returns:
            ``model_seconds`` in calls of networks, which nothing around them can make less;
            ``windows`` they ran; ``seconds_per_window``; and ``share``, those seconds by all that
            the steps took without waiting for the device: 1 is the floor. None where nothing was
            run. A call shared with other studies counts by this study's part of its windows.

        """
        model, windows, spent = 0.0, 0, 0.0
        for answer in self.answers:
            seconds = answer.prediction.seconds
            model += seconds.get("model", 0.0)
            spent += sum(seconds.values()) - seconds.get("wait", 0.0)
            ran = answer.prediction.options.get("windows")
            windows += ran if isinstance(ran, int) else 0
        return {
            "model_seconds": round(model, 4),
            "windows": windows,
            "seconds_per_window": round(model / windows, 5) if windows else None,
            "share": round(model / spent, 4) if model else None,
        }

    def stages(self) -> dict[str, float]:
        """Return seconds by stage over all steps and inputs: preprocess, wait, model, inverse."""
        total: dict[str, float] = {}
        for answer in self.answers:
            for stage, seconds in answer.prediction.seconds.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return {stage: round(seconds, 4) for stage, seconds in total.items()}


def _warnings(answer: Answer) -> tuple[str, ...]:
    return (*answer.place.warnings, *answer.warnings, *answer.prediction.warnings)


def _input_report(answer: Answer) -> dict[str, Any]:
    return {
        **answer.place.report(),
        "when": None if answer.condition is None else answer.condition.explained(),
        "crop": _crop_report(answer),
        "options": dict(answer.prediction.options),
        "seconds": {
            stage: round(seconds, 4) for stage, seconds in answer.prediction.seconds.items()
        },
        "warnings": list(_warnings(answer)),
    }


def _crop_report(answer: Answer) -> dict[str, Any] | None:
    crop, part = answer.crop, answer.part
    if crop is None:
        return None
    segments = None if crop.segments is None else list(crop.segments)
    told = {"to": crop.to, "segments": segments, "margin_mm": crop.margin_mm}
    return told | ({"box": None} if part is None else part.report())


def _skip_report(skipped: Skipped) -> dict[str, Any]:
    return {
        **skipped.place.report(),
        "because": skipped.because,
        "when": None if skipped.condition is None else skipped.condition.explained(),
    }
