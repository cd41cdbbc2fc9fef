"""Analyses: named, versioned YAML documents that say which series to pick and what to run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import field
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from pipeline.analysis.clauses import Clauses, Where
from pipeline.analysis.preparation import Preparation
from pipeline.analysis.steps import Name, Step, StepsInvalid, in_order
from pipeline.config import reading
from pipeline.config.refusal import ConfigRefused
from pipeline.policies import Policies
from pipeline.preprocess import steps as image_steps

_LARGEST_DOCUMENT: Final = 64 * 1024
_STRICT: Final = ConfigDict(extra="forbid")

TieBreaker: TypeAlias = Literal[
    "most_slices",
    "fewest_slices",
    "thinnest",
    "thickest",
    "largest_matrix",
    "finest_pixels",
    "original",
    "no_contrast",
    "contrast",
    "axial",
    "highest_field",
    "latest",
    "earliest",
]


def _form_of(preference: Any) -> str:
    return "word" if isinstance(preference, str) else "clauses"


#: a word, or clauses: a series that meets them comes before one that does not
Preference: TypeAlias = Annotated[
    Annotated[TieBreaker, Tag("word")] | Annotated[Clauses, Tag("clauses")],
    Discriminator(_form_of),
]
Output: TypeAlias = Literal[
    "dicom-seg",
    "dicom-seg-labelmap",
    "dicom-seg-fractional",
    "dicom-sr",
    "dicom-parametric-map",
    "dicom-derived",
    "dicom-secondary-capture",
    "overlay",
]


class AnalysisInvalid(ValueError):
    """The document is no valid analysis. The message lists every fault, one per line."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InputRule:
    """Which series an input is read from.

    With ``each`` every matching series is an input of its own (single images of a study);
    without, exactly one is chosen by ``prefer``, in its order. What is ``optional`` a study may
    lack: the steps that read it beside others run without it.
    """

    kind: Literal["volume", "image"]
    where: Where
    prefer: tuple[Preference, ...] = ()
    each: bool = False
    optional: bool = False


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Limits:
    """Bounds of one job."""

    deadline_s: float = Field(default=1800, gt=0, le=86400)
    maximum_voxels: float = Field(default=2e9, ge=1)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Analysis:
    """A parsed analysis. Equal documents give equal digests, whatever their layout."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,32}$")]
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    inputs: Annotated[dict[Name, InputRule], Field(min_length=1)]
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    description: str = ""
    #: inputs made ready by image steps, by the names that model steps read them by
    prepare: Annotated[dict[Name, Preparation], Field(max_length=64)] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ("overlay",)
    policies: Policies = Policies()
    limits: Limits = Limits()
    #: whether a batch that names no analysis runs it
    by_default: bool = True

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("two steps share a name")
        self._check_prepared()
        read = {name for step in self.steps for name in step.inputs}
        if unknown := sorted(read - set(self.inputs) - set(self.prepare)):
            raise ValueError(f"steps read inputs that are not described: {', '.join(unknown)}")
        try:
            in_order(self.steps)
        except StepsInvalid as invalid:
            raise ValueError(str(invalid)) from None
        for step in self.steps:
            self._check_channels(step)
            self._check_optional(step)
            self._check_crop(step)
        read |= {self.origin(name) for name in read}
        if unused := sorted({*self.inputs, *self.prepare} - read):
            raise ValueError(f"no step reads these inputs: {', '.join(unused)}")
        return self

    def origin(self, name: str) -> str:
        """Return the input that is read from a series for what a step reads by this name."""
        return self.prepare[name].of if name in self.prepare else name

    def rule(self, name: str) -> InputRule:
        """Return which series is read for what a step reads by this name."""
        return self.inputs[self.origin(name)]

    def _check_prepared(self) -> None:
        for name, prepared in self.prepare.items():
            if name in self.inputs:
                raise ValueError(f"{name} is both an input and a prepared one")
            if prepared.of not in self.inputs:
                raise ValueError(f"{name} is made of {prepared.of}, which is no input")
            kind = self.inputs[prepared.of].kind
            if found := list(image_steps.faults(prepared.steps, kind)):
                raise ValueError(f"{name} cannot be made: {'; '.join(found)}")

    def _check_channels(self, step: Step) -> None:
        if len(step.inputs) == 1:
            return
        if len(set(step.inputs)) < len(step.inputs):
            raise ValueError(f"step {step.name} reads an input as two channels")
        for name in step.inputs:
            rule = self.rule(name)
            if rule.each or rule.kind != "volume":
                what = "every series that matches" if rule.each else "single images"
                raise ValueError(
                    f"step {step.name} reads {name} as a channel, which is {what}: "
                    "a channel is one volume"
                )

    def _check_optional(self, step: Step) -> None:
        (first, *others) = step.inputs
        if not self.rule(first).optional:
            return
        if not others:
            raise ValueError(
                f"step {step.name} reads {first} alone, which is optional: "
                "a step runs without one of several inputs only"
            )
        if step.crop is not None:
            raise ValueError(
                f"step {step.name} is cropped, and {first} is optional: "
                "which grid the mask lies on would hang on the study"
            )

    def _check_crop(self, step: Step) -> None:
        if step.crop is None:
            return
        (other,) = (one for one in self.steps if one.name == step.crop.to)
        first, others = (self.origin(one.inputs[0]) for one in (step, other))
        if others != first:
            sentence = f"step {step.name} is cropped to {other.name}, which reads another input"
            raise ValueError(f"{sentence} ({others}, not {first})")
        if self.inputs[first].kind != "volume":
            raise ValueError(f"step {step.name} is cropped, and {first} is no volume")

    @property
    def document(self) -> dict[str, Any]:
        """Return the analysis as JSON values; ``from_document`` is the way back.

        What the first version of the schema did not know stands in it only where it is used: so
        a document keeps its digest when the schema grows.
        """
        document: dict[str, Any] = _ANALYSIS.dump_python(
            self, mode="json", exclude_none=True, by_alias=True
        )
        usual = dataclasses.asdict(Policies())
        document["policies"] = {
            name: value
            for name, value in document["policies"].items()
            if name == "missing_slice" or value != usual[name]
        }
        for rule in document["inputs"].values():
            if not rule["optional"]:
                del rule["optional"]
        for step in document["steps"]:
            for name in ("keep", "explain"):
                if not step[name]:
                    del step[name]
        if self.by_default:
            del document["by_default"]
        if not self.prepare:
            del document["prepare"]
        return document

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the document in canonical JSON."""
        canonical = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


_ANALYSIS: Final = TypeAdapter(Analysis)


def parse(text: str) -> Analysis:
    """Parse an analysis from YAML.

    Raises:
        AnalysisInvalid: not YAML, too long, too deep, with aliases, or not valid; every fault is
            listed.

    """
    if len(text) > _LARGEST_DOCUMENT:
        raise AnalysisInvalid(f"the document is longer than {_LARGEST_DOCUMENT} characters")
    try:
        return from_document(reading.plain_yaml("the document", text))
    except ConfigRefused as refused:
        raise AnalysisInvalid("; ".join(refused.faults)) from None


def from_document(document: Any) -> Analysis:
    """Build an analysis from JSON values, as ``Analysis.document`` gives them.

    Raises:
        AnalysisInvalid: the document is not valid; every fault is listed.

    """
    if not isinstance(document, dict):
        raise AnalysisInvalid("the document is not a mapping")
    try:
        return _ANALYSIS.validate_python(document)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()
        ]
        raise AnalysisInvalid("\n".join(lines)) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a document, for editors."""
    schema = _ANALYSIS.json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
