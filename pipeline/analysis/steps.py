"""The steps of an analysis: a graph of models, with crops and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic.dataclasses import dataclass

from pipeline.analysis.clauses import Word, listed
from pipeline.asking import Explain, Uncertainty

_STRICT: Final = ConfigDict(extra="forbid")

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Keep: TypeAlias = Literal["probabilities"]
Words: TypeAlias = Annotated[
    tuple[Word, ...],
    Field(min_length=1),
    BeforeValidator(listed, json_schema_input_type=Word | tuple[Word, ...]),
]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
#: one input, or several as the channels of the model's input, in their order
Inputs: TypeAlias = Name | Annotated[tuple[Name, ...], Field(min_length=2, max_length=64)]
#: what a comparison can be about, in the order of the fields
QUANTITIES: Final = ("top", "score", "volume_ml", "count", "value")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Crop:
    """Cut the input of a step to the box around the mask of another step on the same input.

    Of several inputs the first counts, on whose grid the mask lies.
    """

    to: Name
    #: labels of the mask; None = all
    segments: Words | None = None
    margin_mm: float = Field(default=10.0, ge=0, le=1000)
    #: the box has at least so many voxels along each axis, as far as the input goes
    minimum_voxels: int = Field(default=16, ge=1, le=4096)
    #: what an empty mask means: the step is skipped, the job rejected, the whole input used
    empty: Literal["skip", "reject", "whole"] = "skip"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Comparison:
    """One number or label that a step found, and what it must be.

    Exactly one of ``top``, ``score``, ``volume_ml``, ``count`` and ``value`` says what it is
    about; all but ``top`` take a label and want a bound.
    """

    step: Name
    #: the likeliest label is one of these
    top: Words | None = None
    #: score of this label of a classification
    score: Word | None = None
    #: volume of this segment
    volume_ml: Word | None = None
    #: number of detections of this label, of those that score ``minimum_score``
    count: Word | None = None
    minimum_score: float | None = Field(default=None, ge=0, le=1)
    #: this measurement
    value: Word | None = None
    minimum: Number | None = None
    maximum: Number | None = None
    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(getattr(self, name) is not None for name in QUANTITIES) != 1:
            raise ValueError(f"it is about exactly one of {', '.join(QUANTITIES)}")
        has_bounds = bool(self.bounds)
        if has_bounds is (self.top is not None):
            word = "takes no" if has_bounds else "wants a"
            raise ValueError(f"{self.quantity} {word} minimum, maximum, above or below")
        if self.minimum_score is not None and self.count is None:
            raise ValueError("minimum_score goes with count")
        return self

    @property
    def quantity(self) -> str:
        """What it is about."""
        return next(name for name in QUANTITIES if getattr(self, name) is not None)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it is about."""
        about = getattr(self, self.quantity)
        return about if isinstance(about, tuple) else (about,)

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are set, by name."""
        named = {name: getattr(self, name) for name in ("minimum", "maximum", "above", "below")}
        return {name: bound for name, bound in named.items() if bound is not None}


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class All:
    """Every one of the conditions holds."""

    all: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=32)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class AnyOf:
    """One of the conditions holds."""

    any: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=32)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Not:
    """The condition does not hold."""

    is_not: Condition = Field(alias="not")


def _form_of(value: Any) -> str:
    """Tell the forms of a condition apart, so that a fault is named in the form that was meant."""
    if isinstance(value, All | AnyOf | Not):
        return {All: "all", AnyOf: "any", Not: "not"}[type(value)]
    if isinstance(value, dict):
        return next((form for form in ("all", "any", "not") if form in value), "test")
    return "test"


Condition: TypeAlias = Annotated[
    Annotated[All, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")]
    | Annotated[Comparison, Tag("test")],
    Discriminator(_form_of),
]


def comparisons_of(condition: All | AnyOf | Not | Comparison) -> tuple[Comparison, ...]:
    """Return every comparison of a condition, however deep."""
    match condition:
        case Comparison():
            return (condition,)
        case Not():
            return comparisons_of(condition.is_not)
        case All():
            parts = condition.all
        case AnyOf():
            parts = condition.any
    return tuple(one for part in parts for one in comparisons_of(part))


def _alone(value: Any) -> Any:
    """Let one explanation stand for a list of one."""
    return (value,) if isinstance(value, dict | Explain) else value


Explanations: TypeAlias = Annotated[
    tuple[Explain, ...],
    Field(max_length=8),
    BeforeValidator(_alone, json_schema_input_type=Explain | tuple[Explain, ...]),
]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Step:
    """One model applied to one input. The model's active version is bound at planning."""

    name: Name
    model: Name
    input: Inputs
    #: steps that must have run before, beside those that ``crop`` and ``when`` name
    needs: tuple[Name, ...] = ()
    #: what a predictor makes on the way and else throws away
    keep: tuple[Keep, ...] = ()
    #: how sure the model is of its answer, and where in the input it comes from
    uncertainty: Uncertainty | None = None
    explain: Explanations = ()
    crop: Crop | None = None
    when: Condition | None = None

    @model_validator(mode="after")
    def _keep_one_kind_of_scores(self) -> Self:
        if self.keep and self.uncertainty is not None:
            raise ValueError("a step that asks for uncertainty keeps no probabilities beside it")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what it reads; answers lie on the grid of the first."""
        return (self.input,) if isinstance(self.input, str) else self.input

    @property
    def after(self) -> tuple[str, ...]:
        """The steps that must have run before, each once."""
        cropped = () if self.crop is None else (self.crop.to,)
        asked = () if self.when is None else (one.step for one in comparisons_of(self.when))
        return tuple(dict.fromkeys((*self.needs, *cropped, *asked)))


class StepsInvalid(ValueError):
    """The steps are no graph without circles. The message says why."""


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Return the steps so that each comes after all it needs, else in the order given.

    Raises:
        StepsInvalid: a step needs itself, in however many steps, or one that does not exist.

    """
    names = {step.name for step in steps}
    for step in steps:
        if unknown := [name for name in step.after if name not in names]:
            raise StepsInvalid(f"step {step.name} needs {', '.join(unknown)}, which is no step")
    waiting, ordered, done = list(steps), list[Step](), set[str]()
    while waiting:
        ready = next((step for step in waiting if done.issuperset(step.after)), None)
        if ready is None:
            circle = " -> ".join(_circle(waiting))
            raise StepsInvalid(f"these steps wait for each other: {circle}")
        waiting.remove(ready)
        ordered.append(ready)
        done.add(ready.name)
    return ordered


def _circle(waiting: Sequence[Step]) -> list[str]:
    """Return one circle: from any step that waits, always on to what it waits for."""
    blocked = {step.name: next(n for n in step.after if n in _names(waiting)) for step in waiting}
    path = [waiting[0].name]
    while path[-1] not in path[:-1]:
        path.append(blocked[path[-1]])
    return path[path.index(path[-1]) :]


def _names(steps: Sequence[Step]) -> set[str]:
    return {step.name for step in steps}
