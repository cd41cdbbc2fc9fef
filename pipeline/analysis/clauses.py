"""The clause language: what can be asked of a series, by name.

A clause is named by its attribute and its test: ``modality``, ``description_contains``,
``kernel_matches``, ``minimum_slices``. So every attribute has every test of its kind, and a table
of attributes is the whole language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    create_model,
    model_validator,
)

from pipeline.analysis.patterns import compiled

Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Modality: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,16}$")]
Plane: TypeAlias = Literal["axial", "sagittal", "coronal", "oblique"]


def listed(value: Any) -> Any:
    """Let one value stand for a list of one."""
    return (value,) if isinstance(value, str | int) else value


def several(one: Any) -> Any:
    """Return the type of a list of ``one``, for which a single value may stand."""
    many = tuple[one, ...]
    return Annotated[many, BeforeValidator(listed, json_schema_input_type=one | many)]


def _is_pattern(text: str) -> str:
    compiled(text)
    return text


Expression: TypeAlias = Annotated[str, AfterValidator(_is_pattern)]


@dataclass(frozen=True)
class ClauseName:
    """One clause of the language."""

    name: str
    #: where a series keeps what it asks about; dots go into mappings, a number into a list
    attribute: str
    #: says whether what is expected agrees with what there is, which may be None
    test: Callable[[Any, Any], bool]
    expects: Any
    says: str
    is_about_numbers: bool = False


def _is_one_of(expected: Any, actual: Any) -> bool:
    """Say whether the value is one of those expected."""
    return actual in expected


def _equals(expected: Any, actual: Any) -> bool:
    return bool(actual == expected)


def _at_least(expected: Any, actual: Any) -> bool:
    return actual is not None and actual >= expected


def _at_most(expected: Any, actual: Any) -> bool:
    return actual is not None and actual <= expected


def _is_text_of(expected: Any, actual: Any) -> bool:
    values = actual if isinstance(actual, list) else [str(actual or "")]
    return any(word.casefold() == value.casefold() for word in expected for value in values)


def _contains(expected: Any, actual: Any) -> bool:
    text = _joined(actual).casefold()
    return any(word.casefold() in text for word in expected)


def _contains_all(expected: Any, actual: Any) -> bool:
    return all(_contains((word,), actual) for word in expected)


def _excludes(expected: Any, actual: Any) -> bool:
    return not _contains(expected, actual)


def _matches(expected: Any, actual: Any) -> bool:
    return compiled(expected).is_found_in(_joined(actual))


def _joined(actual: Any) -> str:
    return "\\".join(actual) if isinstance(actual, list) else str(actual or "")


#: word in clauses -> where a series keeps it
_TEXTS: Final = {
    "description": "series_description",
    "protocol": "protocol",
    "body_part": "body_part",
    "image_type": "image_type",
    "kernel": "kernel",
    "manufacturer": "manufacturer",
    "model": "model_name",
    "sop_class": "sop_class",
    "transfer_syntax": "transfer_syntax",
    "photometric": "photometric",
    "units": "units",
}
#: the same for whole numbers, with the least that makes sense to ask for
_COUNTS: Final = {
    "slices": ("slices", 1),
    "frames": ("frames", 1),
    "rows": ("rows", 1),
    "columns": ("columns", 1),
    "series_number": ("series_number", None),
    "bits_stored": ("bits_stored", 1),
    "phases": ("phase_count", 1),
    "unread_neighbours": ("unread_neighbours", 0),
}
_MEASURES: Final = {
    "slice_spacing_mm": "spacing_mm.0",
    "pixel_spacing_mm": "pixel_spacing_mm.0",
    "thickness_mm": "slice_thickness_mm",
    "field_strength_t": "field_strength_t",
    "echo_time_ms": "phases.EchoTime",
    "inversion_time_ms": "phases.InversionTime",
    "b_value": "phases.DiffusionBValue",
}
_FLAGS: Final = {"colour": "is_colour", "contrast": "contrast", "geometry": "has_geometry"}

_Test: TypeAlias = Callable[[Any, Any], bool]
_TEXT_TESTS: Final[Mapping[str, tuple[Any, _Test, str]]] = {
    "": (several(Word), _is_text_of, "is one of these"),
    "_contains": (several(Word), _contains, "contains one of these"),
    "_contains_all": (several(Word), _contains_all, "contains all of these"),
    "_excludes": (several(Word), _excludes, "contains none of these"),
    "_matches": (Expression, _matches, "matches this pattern"),
}


def _vocabulary() -> Iterator[ClauseName]:
    listed_one = "is one of these"
    for word, one in (("modality", Modality), ("orientation", Plane)):
        yield ClauseName(word, word, _is_one_of, several(one), listed_one)
    for word, attribute in _TEXTS.items():
        for ending, (expects, test, said) in _TEXT_TESTS.items():
            yield ClauseName(f"{word}{ending}", attribute, test, expects, said)
    for word, (attribute, least) in _COUNTS.items():
        number: Any = int if least is None else Annotated[int, Field(ge=least)]
        yield ClauseName(
            word, attribute, _is_one_of, several(number), listed_one, is_about_numbers=True
        )
        yield from _bounds(word, attribute, number)
    for word, attribute in _MEASURES.items():
        yield from _bounds(word, attribute, Annotated[float, Field(ge=0, allow_inf_nan=False)])
    for word, attribute in _FLAGS.items():
        yield ClauseName(word, attribute, _equals, bool, "is so, or is not")


def _bounds(word: str, attribute: str, number: Any) -> Iterator[ClauseName]:
    for name, test, said in (
        (f"minimum_{word}", _at_least, "is at least this"),
        (f"maximum_{word}", _at_most, "is at most this"),
    ):
        yield ClauseName(name, attribute, test, number, said, is_about_numbers=True)


#: every clause by its name
VOCABULARY: Final[Mapping[str, ClauseName]] = {one.name: one for one in _vocabulary()}


class _Clauses(BaseModel):
    """Clauses that a series must meet, all of them. An absent clause asks nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _ask_something(self) -> Self:
        if not any(value is not None for _, value in self):
            raise ValueError("no clause is asked")
        return self

    def asked(self) -> Iterator[tuple[ClauseName, Any]]:
        """Yield what is asked and what is expected, in the order of the vocabulary."""
        for name, clause in VOCABULARY.items():
            expected = getattr(self, name)
            if expected is not None:
                yield clause, expected


if TYPE_CHECKING:
    Clauses = _Clauses
else:
    # one field for each name: as data they are a table, as code a hundred lines
    Clauses = create_model(
        "Clauses",
        __base__=_Clauses,
        __module__=__name__,
        **{
            name: (clause.expects | None, Field(default=None, description=clause.says))
            for name, clause in VOCABULARY.items()
        },
    )


class Where(Clauses):
    """The clauses of an input: a series must meet them, one alternative, and no exception."""

    modality: Annotated[
        tuple[Modality, ...],
        BeforeValidator(listed, json_schema_input_type=Modality | tuple[Modality, ...]),
    ]
    any_of: Annotated[tuple[Clauses, ...] | None, Field(min_length=1)] = None
    none_of: Annotated[tuple[Clauses, ...] | None, Field(min_length=1)] = None
