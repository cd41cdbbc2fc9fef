"""One row of a table."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Kind(enum.Enum):
    """What a name stands for."""

    NETWORK = "network"
    TRANSFORM = "transform"
    INFERER = "inferer"
    FUNCTION = "function"
    VALUE = "value"
    #: known, but nothing that we build: the caller puts something of its own in its place
    PLACEHOLDER = "placeholder"


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """Where a name is defined, and what a document may say about it."""

    #: our own spelling: the module is imported by this, never by what a document writes
    module: str
    #: attributes below the module, separated by dots
    attribute: str
    kind: Kind
    #: parameters that a document cannot set: whatever would fetch weights stays off
    fixed: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    #: parameters of older versions that have lost their meaning
    ignored: frozenset[str] = frozenset()
    #: parameters that a document must leave alone, and why
    refused: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    #: the texts that a parameter may have
    choices: Mapping[str, frozenset[str]] = field(default_factory=lambda: _NOTHING)
    #: a library that is not installed with Nightshift, "" for none
    library: str = ""

    @property
    def name(self) -> str:
        """The one full name, whichever a document used."""
        return f"{self.module}.{self.attribute}"

    @property
    def is_built(self) -> bool:
        """Whether it is a part of a pipeline, held to its parameters, and no function or value."""
        return self.kind not in {Kind.FUNCTION, Kind.VALUE}

    def load(self) -> Any:
        """Import what the row stands for.

        Raises:
            ImportError: a library is missing.

        """
        found: Any = import_module(self.module)
        for part in self.attribute.split("."):
            found = getattr(found, part)
        return found


def rows(
    package: str, names: Mapping[str, str], kind: Kind, special: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Entry]]:
    """Yield the rows of one package, by each full name that a document may write.

    Args:
        package: where the names are exported.
        names: by the submodule that defines them, separated by spaces; "" for the package itself.
        kind: what they are.
        special: more fields of single rows, by name.

    """
    for module, row in names.items():
        home = f"{package}.{module}" if module else package
        for name in row.split():
            entry = Entry(module=home, attribute=name, kind=kind, **special.get(name, {}))
            yield f"{home}.{name}", entry
            yield f"{package}.{name}", entry
