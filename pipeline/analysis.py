"""Analyses: named, versioned YAML documents that say which series to pick and what to run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import yaml
from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from pipeline.policies import Policies

_LARGEST_DOCUMENT: Final = 64 * 1024
_STRICT: Final = ConfigDict(extra="forbid")

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Modality: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,16}$")]
Preference: TypeAlias = Literal[
    "most_slices", "thinnest", "largest_matrix", "original", "no_contrast", "latest"
]
Keep: TypeAlias = Literal["probabilities"]
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
class Where:
    """The clauses a series must meet. An absent clause asks nothing.

    ``*_contains`` and ``*_excludes`` compare without regard to case: the first wants one of its
    words inside the value, the second none of them.
    """

    modality: tuple[Modality, ...]
    minimum_slices: int | None = Field(default=None, ge=1)
    maximum_slices: int | None = Field(default=None, ge=1)
    maximum_frames: int | None = Field(default=None, ge=1)
    minimum_rows: int | None = Field(default=None, ge=1)
    maximum_slice_spacing_mm: float | None = Field(default=None, gt=0)
    maximum_unread_neighbours: int | None = Field(default=None, ge=0)
    orientation: tuple[Literal["axial", "sagittal", "coronal", "oblique"], ...] | None = None
    colour: bool | None = None
    contrast: bool | None = None
    image_type_contains: tuple[Word, ...] | None = None
    image_type_excludes: tuple[Word, ...] | None = None
    description_contains: tuple[Word, ...] | None = None
    description_excludes: tuple[Word, ...] | None = None
    body_part_contains: tuple[Word, ...] | None = None
    kernel_contains: tuple[Word, ...] | None = None
    manufacturer_contains: tuple[Word, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_one_word(cls, data: Any) -> Any:
        """Let ``modality: CT`` stand for ``modality: [CT]``, and so for every list of words."""
        if not isinstance(data, dict):
            return data
        return {key: (value,) if isinstance(value, str) else value for key, value in data.items()}


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InputRule:
    """Which series an input is read from.

    With ``each`` every matching series is an input of its own (single images of a study);
    without, exactly one is chosen by ``prefer``, in its order.
    """

    kind: Literal["volume", "image"]
    where: Where
    prefer: tuple[Preference, ...] = ()
    each: bool = False


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Step:
    """One model applied to one input. The model's active version is bound at planning."""

    name: Name
    model: Name
    input: Name
    #: steps that must have run before
    needs: tuple[Name, ...] = ()
    #: what a predictor makes on the way and else throws away
    keep: tuple[Keep, ...] = ()


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
    outputs: tuple[Output, ...] = ("overlay",)
    policies: Policies = Policies()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("two steps share a name")
        unknown = sorted({step.input for step in self.steps} - set(self.inputs))
        if unknown:
            raise ValueError(f"steps read inputs that are not described: {', '.join(unknown)}")
        if any(set(step.needs) - set(names[:place]) for place, step in enumerate(self.steps)):
            raise ValueError("a step needs one that does not stand before it")
        unused = sorted(set(self.inputs) - {step.input for step in self.steps})
        if unused:
            raise ValueError(f"no step reads these inputs: {', '.join(unused)}")
        return self

    @property
    def document(self) -> dict[str, Any]:
        """Return the analysis as JSON values; ``from_document`` is the way back.

        What the first version of the schema did not know stands in it only where it is used: so
        a document keeps its digest when the schema grows.
        """
        document: dict[str, Any] = _ANALYSIS.dump_python(self, mode="json", exclude_none=True)
        usual = dataclasses.asdict(Policies())
        document["policies"] = {
            name: value
            for name, value in document["policies"].items()
            if name == "missing_slice" or value != usual[name]
        }
        for step in document["steps"]:
            if not step["keep"]:
                del step["keep"]
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
        AnalysisInvalid: not YAML, too long, with aliases, or not valid; every fault is listed.

    """
    if len(text) > _LARGEST_DOCUMENT:
        raise AnalysisInvalid(f"the document is longer than {_LARGEST_DOCUMENT} characters")
    try:
        # A few nested aliases can stand for gigabytes, and no analysis needs one.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise AnalysisInvalid("YAML aliases are not allowed")
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise AnalysisInvalid(f"the document is not YAML: {error}") from None
    return from_document(document)


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
