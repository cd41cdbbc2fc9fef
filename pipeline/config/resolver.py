"""From a document to objects: references followed, expressions interpreted, targets built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.config import ids
from pipeline.config.component import (
    BUILD_ERRORS,
    DISABLED,
    REQUIRES,
    Component,
    Replacing,
    by_full_name,
    construct,
    is_component,
    placeholder_fault,
)
from pipeline.config.document import Document
from pipeline.config.expression import DEFAULT_ALIASES, imports, parse
from pipeline.config.interpreter import evaluate
from pipeline.config.limits import DEEPEST, Budget
from pipeline.config.macros import Broken
from pipeline.config.refusal import ConfigRefused
from pipeline.config.tables.entry import Entry, Kind

#: references, parts and parts of parts that may wait for one another
DEEPEST_WAITING = 2 * DEEPEST


def aliases(document: Document) -> Mapping[str, str]:
    """Return what each module name in expressions stands for: MONAI's own and the imports."""
    found = dict(DEFAULT_ALIASES)
    for value in document.items.values():
        if ids.is_import(value):
            found |= imports(value)
    return found


def is_disabled(flag: Any) -> bool:
    """Whether the resolved ``_disabled_`` says so, in MONAI's reading."""
    return flag.lower().strip() == "true" if isinstance(flag, str) else bool(flag)


def answered(given: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    """Return whether an id lies within what the caller gives, and the object there."""
    parts = name.split(ids.SEPARATOR)
    for end in range(len(parts), 0, -1):
        above = ids.SEPARATOR.join(parts[:end])
        if above in given:
            try:
                return True, ids.find(given[above], ids.SEPARATOR.join(parts[end:]))
            except KeyError:
                # an object has no parts; what the document says about it may still be asked for
                return False, None
    return False, None


class Resolver:
    """Resolves ids of one document. Each is resolved once and shared by whatever refers to it."""

    def __init__(
        self,
        document: Document,
        *,
        given: Mapping[str, Any] | None = None,
        replacing: Replacing | None = None,
    ) -> None:
        """Prepare; nothing is resolved yet.

        Args:
            document: the configuration.
            given: objects that answer for ids, whatever the document says there.
            replacing: by target (``LoadImaged``), what to call instead. It gets those arguments
                that its signature names, all where it takes ``**others``; an argument that it does
                not name is not even resolved. None from it drops the component, as a disabled one.

        """
        self._document = document
        self._given = {ids.normalized(name): value for name, value in (given or {}).items()}
        self._replacing = by_full_name(replacing or {})
        self._aliases = aliases(document)
        self._resolved: dict[str, Any] = {}
        self._waiting: list[str] = []
        # one for the whole document: many small expressions are no way around it
        self._budget = Budget()

    def get(self, name: str) -> Any:
        """Return the object for an id.

        Raises:
            ConfigRefused: it, or something that it needs, is missing, not understood, not allowed
                or does not fit. The faults name the id where it lies.

        """
        name = ids.normalized(name)
        if name in self._resolved:
            return self._resolved[name]
        is_given, value = answered(self._given, name)
        if is_given:
            return value
        if name not in self._document.items:
            raise ConfigRefused(f"the document has no {name!r}")
        with self._entered(name):
            value = self._resolve(name, self._document.items[name])
        self._resolved[name] = value
        return value

    @contextmanager
    def _entered(self, name: str) -> Iterator[None]:
        if name in self._waiting:
            circle = " -> ".join([*self._waiting[self._waiting.index(name) :], name])
            raise ConfigRefused(f"{name} refers to itself: {circle}")
        if len(self._waiting) >= DEEPEST_WAITING:
            raise ConfigRefused(f"{name} lies behind more than {DEEPEST_WAITING} references")
        self._waiting.append(name)
        try:
            yield
        finally:
            self._waiting.pop()

    def _resolve(self, name: str, value: Any) -> Any:
        if isinstance(value, Broken):
            raise ConfigRefused(value.sentence)
        if is_component(value):
            return self._component(name, value)
        if isinstance(value, dict):
            return {key: self.get(ids.join(name, key)) for key in self._kept(name, value)}
        if isinstance(value, list):
            return [self.get(ids.join(name, index)) for index in self._kept(name, value)]
        return self._text(name, value) if isinstance(value, str) else value

    def _text(self, name: str, value: str) -> Any:
        if ids.is_reference(value):
            return self.get(ids.referred(value))
        if ids.is_import(value):
            return None
        return self._expression(name, value) if ids.is_expression(value) else value

    def _kept(self, name: str, value: Any) -> Iterator[Any]:
        """Yield the keys of children; a component that came to None is left out, as in MONAI."""
        for key, child in ids.children(value):
            if not is_component(child) or self.get(ids.join(name, key)) is not None:
                yield key

    def _component(self, name: str, value: Mapping[str, Any]) -> Any:
        if DISABLED in value and is_disabled(self.get(ids.join(name, DISABLED))):
            return None
        if REQUIRES in value:
            self.get(ids.join(name, REQUIRES))
        component = Component.of(value, self._replacing)
        with _named(name):
            if component.faults():
                raise ConfigRefused(component.faults())
        wanted = {str(key): child for key, child in value.items()}
        wanted = {key: wanted[key] for key in component.arguments}
        arguments = {key: self.get(ids.join(name, key)) for key in self._kept(name, wanted)}
        with _named(name):
            self._budget.weigh(arguments)
            return component.build(arguments)

    def _expression(self, name: str, text: str) -> Any:
        expression = parse(text, self._aliases)
        with _named(name):
            if expression.faults:
                raise ConfigRefused(list(expression.faults))
        values = {reference: self.get(reference) for reference in expression.references.values()}
        with _named(name):
            return evaluate(expression, values, self._build, self._budget)

    def _build(
        self, entry: Entry, positional: tuple[Any, ...], arguments: Mapping[str, Any]
    ) -> Any:
        """Build a component, or call a function, that an expression names."""
        replacement = self._replacing.get(entry.name)
        if replacement is not None:
            return replacement(*positional, **arguments)
        if entry.kind is Kind.PLACEHOLDER:
            raise ConfigRefused(placeholder_fault(entry))
        return construct(entry, positional, arguments)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say in every fault which id it is about."""
    try:
        yield
    except ConfigRefused as error:
        raise ConfigRefused([f"{name}: {fault}" for fault in error.faults]) from error
    except BUILD_ERRORS as error:
        reason = str(error).strip().split("\n")[0][:300]
        raise ConfigRefused(f"{name}: {type(error).__name__}: {reason}") from error
