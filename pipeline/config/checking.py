"""What is wrong with a configuration, said before anything is built. torch is not imported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pipeline.config.component import (
    DISABLED,
    REQUIRES,
    Component,
    Replacing,
    by_full_name,
    is_component,
    placeholder_fault,
    signature_faults,
    value_faults,
)
from pipeline.config.document import Document
from pipeline.config.expression import parse
from pipeline.config.ids import (
    SEPARATOR,
    children,
    is_expression,
    is_import,
    is_reference,
    join,
    normalized,
    referred,
)
from pipeline.config.macros import Broken
from pipeline.config.refusal import ConfigRefused
from pipeline.config.resolver import DEEPEST_WAITING, aliases, is_disabled
from pipeline.config.tables.entry import Kind


def faults(
    document: Document,
    ids: Iterable[str],
    given: Collection[str] = (),
    replacing: Replacing | None = None,
    *,
    signatures: bool = False,
) -> list[str]:
    """Say why ids of a document cannot be resolved, as far as it shows without building anything.

    Args:
        document: the configuration.
        ids: what will be asked for.
        given: ids that the caller will answer for.
        replacing: the targets that the caller will put something in the place of.
        signatures: hold arguments against the parameters of MONAI's classes too, which imports
            them.

    Returns:
        One sentence for each fault in what these ids reach, in the order of reading.

    """
    try:
        walk = _Walk(document, given, replacing or {}, signatures=signatures)
    except ConfigRefused as error:
        return error.faults
    for name in ids:
        walk.visit(normalized(name), "what is asked for")
    return list(dict.fromkeys(walk.faults))


class _Walk:
    def __init__(
        self, document: Document, given: Collection[str], replacing: Replacing, *, signatures: bool
    ) -> None:
        self._items = document.items
        self._given = {normalized(name) for name in given}
        self._replacing = by_full_name(replacing)
        self._aliases = aliases(document)
        self._signatures = signatures
        self._seen: set[str] = set()
        self._waiting: list[str] = []
        self.faults: list[str] = []

    def visit(self, name: str, asker: str) -> None:
        """Gather the faults of an id and of what it reaches."""
        if self._is_given(name):
            return
        if name in self._waiting:
            circle = " -> ".join([*self._waiting[self._waiting.index(name) :], name])
            self.faults.append(f"{name} refers to itself: {circle}")
            return
        if name in self._seen:
            return
        if name not in self._items:
            self.faults.append(f"{asker} refers to {name!r}, which is not there; give it a value")
            return
        if len(self._waiting) >= DEEPEST_WAITING:
            self.faults.append(f"{name} lies behind more than {DEEPEST_WAITING} references")
            return
        self._seen.add(name)
        self._waiting.append(name)
        self._inside(name, self._items[name])
        self._waiting.pop()

    def _is_given(self, name: str) -> bool:
        parts = name.split(SEPARATOR)
        return any(SEPARATOR.join(parts[:end]) in self._given for end in range(1, len(parts) + 1))

    def _inside(self, name: str, value: Any) -> None:
        if isinstance(value, Broken):
            self.faults.append(value.sentence)
        elif is_component(value):
            self._component(name, value)
        elif isinstance(value, dict | list):
            for key, _ in children(value):
                self.visit(join(name, key), name)
        elif is_reference(value):
            self.visit(referred(value), name)
        elif is_expression(value) and not is_import(value):
            self._expression(name, value)

    def _component(self, name: str, value: Mapping[str, Any]) -> None:
        flag = value.get(DISABLED, False)
        if isinstance(flag, str) and (is_reference(flag) or is_expression(flag)):
            self.visit(join(name, DISABLED), name)
        elif is_disabled(flag):
            return
        if REQUIRES in value:
            self.visit(join(name, REQUIRES), name)
        component = Component.of(value, self._replacing)
        for key in component.arguments:
            self.visit(join(name, key), name)
        found = component.faults() or self._argument_faults(component, value)
        self.faults += [f"{name}: {fault}" for fault in found]

    def _argument_faults(self, component: Component, value: Mapping[str, Any]) -> list[str]:
        entry = component.entry
        if component.replacement is not None or entry is None:
            return []
        named = {str(key): argument for key, argument in value.items()}
        written = {name: named[name] for name in component.arguments}
        literal = {
            name: argument
            for name, argument in written.items()
            if not is_reference(argument) and not is_expression(argument)
        }
        found = value_faults(entry, literal)
        if not self._signatures or not entry.is_built:
            return found
        try:
            target = entry.load()
        except (ImportError, AttributeError):
            return [*found, f"{entry.attribute} is not there in the installed versions"]
        return found + signature_faults(entry, target, written)

    def _expression(self, name: str, text: str) -> None:
        expression = parse(text, self._aliases)
        self.faults += [f"{name} is {text[:100]!r}: {fault}" for fault in expression.faults]
        for entry in expression.entries:
            if entry.kind is Kind.PLACEHOLDER and entry.name not in self._replacing:
                self.faults.append(f"{name}: {placeholder_fault(entry)}")
        for reference in expression.references.values():
            self.visit(reference, name)
