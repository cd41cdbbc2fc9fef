"""A mapping with ``_target_``: what it asks to be built, and how the arguments are held."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from pipeline.config.limits import LARGEST_ARGUMENT
from pipeline.config.refusal import ConfigRefused
from pipeline.config.tables.entry import Entry, Kind
from pipeline.config.tables.lookup import find_target, purpose

TARGET, DISABLED, REQUIRES, MODE = "_target_", "_disabled_", "_requires_", "_mode_"
_KEPT = frozenset({TARGET, DISABLED, REQUIRES, MODE, "_desc_"})
_LONGEST_NAME = 200
_MODES = ("default", "callable")
#: what a constructor of MONAI or torch raises at arguments that do not fit
BUILD_ERRORS = (
    TypeError, ValueError, RuntimeError, LookupError, AttributeError, ArithmeticError,
    AssertionError, ImportError,
)  # fmt: skip
Replacing = Mapping[str, Callable[..., Any]]


def is_component(value: object) -> bool:
    """Whether a part of a document asks for something to be built."""
    return isinstance(value, Mapping) and TARGET in value


def full_name(target: str) -> str:
    """Return the one full name of a target, or the target itself where no table has it."""
    entry = find_target(target)
    return entry.name if entry else target


def by_full_name(replacing: Replacing) -> Replacing:
    """Return replacements by the full names of what they replace."""
    return {full_name(target): built for target, built in replacing.items()}


@dataclass(frozen=True)
class Component:
    """One mapping with ``_target_``.

    Attributes:
        target: the name, as written.
        mode: ``default`` calls the target, ``callable`` returns it with its arguments bound.
        entry: the row of the tables, None where there is none.
        replacement: what the caller has put in its place, None for nothing.
        arguments: the keys that are arguments and wanted.

    """

    target: str
    mode: str
    entry: Entry | None
    replacement: Callable[..., Any] | None
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, value: Mapping[str, Any], replacing: Replacing) -> Component:
        """Read a mapping. ``replacing`` goes by full names."""
        target, mode = str(value[TARGET])[:_LONGEST_NAME], str(value.get(MODE, _MODES[0]))
        replacement = replacing.get(full_name(target))
        given = tuple(str(key) for key in value if key not in _KEPT)
        if replacement is not None:
            given = tuple(_wanted(replacement, given))
        return cls(target, mode, find_target(target), replacement, given)

    def faults(self) -> list[str]:
        """Say what is wrong with the target and its arguments, without importing it."""
        found = []
        if self.mode not in _MODES:
            known = " or ".join(_MODES)
            found.append(f"{self.target} is asked for in the mode {self.mode!r}; it may be {known}")
        if self.replacement is not None:
            return found
        entry = self.entry
        if entry is None:
            return [*found, _unknown(self.target)]
        if entry.kind is Kind.PLACEHOLDER:
            return [*found, placeholder_fault(entry)]
        if entry.library and find_spec(entry.library) is None:
            found.append(f"{self.target} needs the library {entry.library}, which is not installed")
        found += _refusals(entry, self.arguments)
        return found

    def build(self, arguments: Mapping[str, Any]) -> Any:
        """Build the target, or what replaces it.

        Raises:
            ConfigRefused: it is not in the tables, or the arguments do not fit.

        """
        found = self.faults()
        if found:
            raise ConfigRefused(found)
        if self.replacement is not None:
            is_called = self.mode == _MODES[0]
            return (self.replacement if is_called else partial(self.replacement))(**arguments)
        if self.entry is None:
            raise ConfigRefused(_unknown(self.target))
        return construct(self.entry, (), arguments, is_called=self.mode == _MODES[0])


def placeholder_fault(entry: Entry) -> str:
    """Say why something known is not built."""
    return (
        f"{entry.attribute} {purpose(entry)}, which is left to whoever runs the bundle; "
        "put something in its place"
    )


def construct(
    entry: Entry,
    positional: tuple[Any, ...],
    arguments: Mapping[str, Any],
    *,
    is_called: bool = True,
) -> Any:
    """Build what a row stands for, or call it where it is a function.

    Args:
        entry: the row.
        positional: arguments by place, from an expression.
        arguments: arguments by name.
        is_called: False to return the target with its arguments bound instead.

    Raises:
        ConfigRefused: the arguments do not fit, or a library is missing.

    """
    try:
        target = entry.load()
    except (ImportError, AttributeError):
        raise ConfigRefused(f"{entry.attribute} is not there in the installed versions") from None
    if entry.is_built:
        # by name, so that no place is a way around what a row holds
        arguments = {**_by_name(entry, target, positional), **arguments}
        arguments = {key: value for key, value in arguments.items() if key not in entry.ignored}
        found = [
            *_refusals(entry, arguments),
            *signature_faults(entry, target, arguments),
            *value_faults(entry, arguments),
        ]
        if found:
            raise ConfigRefused(found)
        positional, arguments = (), {**arguments, **entry.fixed}
    if not is_called:
        return partial(target, *positional, **arguments) if arguments else target
    return _called(entry.attribute, target, positional, arguments)


def _by_name(
    entry: Entry, target: Callable[..., Any], positional: tuple[Any, ...]
) -> dict[str, Any]:
    if not positional:
        return {}
    places = [
        parameter.name
        for parameter in inspect.signature(target).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if len(positional) > len(places):
        raise ConfigRefused(f"{entry.attribute} takes {len(places)} arguments by place")
    return dict(zip(places, positional, strict=False))


def _called(
    name: str, target: Callable[..., Any], positional: tuple[Any, ...], named: Mapping[str, Any]
) -> Any:
    try:
        return target(*positional, **named)
    except ConfigRefused:
        raise
    except BUILD_ERRORS as error:
        reason = str(error).strip().split("\n")[0][:300]
        raise ConfigRefused(f"{name} refuses its arguments: {reason}") from error


def signature_faults(
    entry: Entry, target: Callable[..., Any], arguments: Iterable[str]
) -> list[str]:
    """Hold the names of arguments against the parameters of a target."""
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return []
    given = set(arguments) - entry.ignored
    found = [
        f"{entry.attribute} has no parameter {name!r}; it knows {', '.join(parameters)}"
        for name in sorted(given - set(parameters))
    ]
    return found + [
        f"{entry.attribute} needs the parameter {name!r}"
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_POSITIONAL
        and name not in given | set(entry.fixed)
    ]


def _refusals(entry: Entry, arguments: Iterable[str]) -> list[str]:
    return [
        f"{entry.attribute} has an argument {name!r} that is refused: {entry.refused[name]}"
        for name in arguments
        if name in entry.refused
    ]


def value_faults(entry: Entry, arguments: Mapping[str, Any]) -> list[str]:
    """Hold the values of arguments against what a row allows."""
    found = [
        f"{entry.attribute} cannot have {arguments[name]!r} for {name!r}; it may be one of "
        f"{', '.join(sorted(allowed))}"
        for name, allowed in entry.choices.items()
        if isinstance(arguments.get(name), str) and arguments[name] not in allowed
    ]
    if entry.kind is Kind.NETWORK:
        found += [
            f"{entry.attribute} has an argument {name!r} beyond {LARGEST_ARGUMENT}"
            for name, value in arguments.items()
            if _largest(value) > LARGEST_ARGUMENT
        ]
    return found


def _largest(value: object) -> float:
    if isinstance(value, int | float):
        return abs(value) if math.isfinite(value) else math.inf
    if isinstance(value, Mapping):
        return max(map(_largest, value.values()), default=0.0)
    if isinstance(value, list | tuple):
        return max(map(_largest, value), default=0.0)
    return 0.0


def _wanted(replacement: Callable[..., Any], given: tuple[str, ...]) -> Iterable[str]:
    parameters = inspect.signature(replacement).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return given
    names = {parameter.name for parameter in parameters}
    return (name for name in given if name in names)


def _unknown(target: str) -> str:
    if target.startswith("scripts."):
        return (
            f"{target} is code of the bundle, which never runs, and nothing of ours stands for it"
        )
    return f"{target} is not among the networks, transforms and inferers that are built here"
