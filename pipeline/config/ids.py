"""Ids of MONAI's configuration language: ``a::b::0``, and the marks that begin special strings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.refusal import ConfigRefused

SEPARATOR = "::"
#: the separator of older bundles
_OLD_SEPARATOR = "#"
REFERENCE, EXPRESSION, MACRO, MERGE = "@", "$", "%", "+"
_REFERENCES = re.compile(r"@\w*(?:(?:::|#)\w*)*")
_RELATIVE = re.compile(r"([@%])((?:::|#)+)")
_IMPORT = re.compile(r"\$\s*(?:import|from)\s")


def normalized(name: str | int) -> str:
    """Write an id with ``::`` between its parts."""
    return str(name).replace(_OLD_SEPARATOR, SEPARATOR)


def join(parent: str, key: object) -> str:
    """Return the id of a child; the id of the whole document is empty."""
    return f"{parent}{SEPARATOR}{key}" if parent else str(key)


def children(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the key or index and the value of each child; nothing for a leaf."""
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)


def find(root: Any, name: str) -> Any:
    """Return what lies at an id of nested containers.

    Raises:
        KeyError: nothing does.

    """
    value = root
    for part in normalized(name).split(SEPARATOR) if name else ():
        matching = [child for key, child in children(value) if str(key) == part]
        if not matching:
            raise KeyError(name)
        value = matching[0]
    return value


def is_reference(value: object) -> bool:
    """Whether a string as a whole is ``@id``."""
    return isinstance(value, str) and _REFERENCES.fullmatch(value) is not None


def is_expression(value: object) -> bool:
    """Whether a string begins with ``$``; imports do too."""
    return isinstance(value, str) and value.startswith(EXPRESSION)


def is_import(value: object) -> bool:
    """Whether a string is an import statement, ``$import os``."""
    return isinstance(value, str) and _IMPORT.match(value) is not None


def is_macro(value: object) -> bool:
    """Whether a string begins with ``%``."""
    return isinstance(value, str) and value.startswith(MACRO)


def referred(value: str) -> str:
    """Return the id of a string that is a reference."""
    return normalized(value[1:])


def replace_references(text: str, names: dict[str, str]) -> str:
    """Put a name in the place of every reference of an expression; ``names`` gathers them by id."""

    def name(match: re.Match[str]) -> str:
        return names.setdefault(referred(match[0]), f"__reference_{len(names)}__")

    return _REFERENCES.sub(name, text)


def absolute(value: str, at: str) -> str:
    """Replace relative ids: ``@#x`` is a sibling of ``at``, ``@##x`` a sibling of its parent.

    Raises:
        ConfigRefused: there are more marks than levels above ``at``.

    """
    parts = at.split(SEPARATOR)

    def anchored(match: re.Match[str]) -> str:
        levels = normalized(match[2]).count(SEPARATOR)
        if levels > len(parts):
            raise ConfigRefused(f"{at} refers to something above the whole document")
        above = parts[: len(parts) - levels]
        return match[1] + SEPARATOR.join([*above, ""])

    return _RELATIVE.sub(anchored, value)
