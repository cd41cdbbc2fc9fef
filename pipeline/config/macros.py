"""Macros and relative ids: the first of the two passes of MONAI's language, text for text.

``%id`` stands for a copy of what another part of the same document says, ``%file.json::id`` for a
part of another file of the same bundle. What cannot be expanded becomes ``Broken`` in its place:
a document may be wrong where nobody looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import ids, reading
from pipeline.config.limits import DEEPEST, MOST_NODES
from pipeline.config.refusal import ConfigRefused

_FILE = re.compile(r"(.*\.(?:json|yaml|yml))(?:::(.*))?", re.IGNORECASE)
#: the files that one expansion may open
_MOST_FILES = 16
_HERE = ""


@dataclass(frozen=True)
class Broken:
    """What stands where a macro or a relative id could not be followed."""

    sentence: str


def expand(config: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Return the configuration with all macros and relative ids replaced.

    Args:
        config: plain data, as merged from its files.
        folder: the bundle; macros reach files inside of it only, and none where it is None.

    Raises:
        ConfigRefused: the macros make the document too large.

    """
    expanded = _Expansion(config, folder).walk(config, "", (), _HERE)
    return dict(expanded)


class _Expansion:
    def __init__(self, config: dict[str, Any], folder: Path | None) -> None:
        self._folder = folder
        self._roots: dict[str, dict[str, Any]] = {_HERE: config}
        self._nodes = 0

    def walk(self, value: Any, at: str, chain: tuple[tuple[str, str], ...], file: str) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise ConfigRefused(f"macros make the document larger than {MOST_NODES} values")
        if isinstance(value, dict):
            return {
                key: self.walk(child, ids.join(at, key), chain, file)
                for key, child in value.items()
            }
        if isinstance(value, list):
            return [
                self.walk(child, ids.join(at, index), chain, file)
                for index, child in enumerate(value)
            ]
        if not isinstance(value, str) or value[:1] not in {
            ids.REFERENCE,
            ids.EXPRESSION,
            ids.MACRO,
        }:
            return value
        try:
            text = ids.absolute(value, at)
            return self._macro(text, at, chain, file) if ids.is_macro(text) else text
        except _Unfollowed as error:
            return Broken(f"{at} is the macro {value!r}, but {error}")
        except ConfigRefused as error:
            if self._nodes > MOST_NODES:
                raise
            return Broken("; ".join(error.faults))

    def _macro(self, text: str, at: str, chain: tuple[tuple[str, str], ...], file: str) -> Any:
        match = _FILE.fullmatch(ids.normalized(text[1:]))
        name, target = (match[1], match[2] or "") if match else (_HERE, ids.normalized(text[1:]))
        there = self._open(name) if name else file
        if (there, target) in chain:
            raise _Unfollowed("it leads back to itself")
        if len(chain) >= DEEPEST:
            raise _Unfollowed(f"it leads through more than {DEEPEST} others")
        try:
            found = ids.find(self._roots[there], target)
        except KeyError:
            raise _Unfollowed(f"there is no {target!r}") from None
        # relative ids in a part of this document mean what they mean at their own place
        return self.walk(found, at if name else target, (*chain, (there, target)), there)

    def _open(self, name: str) -> str:
        path = self._inside(name)
        key = str(path)
        if key not in self._roots:
            if len(self._roots) > _MOST_FILES:
                raise _Unfollowed(f"macros open more than {_MOST_FILES} files")
            self._roots[key] = reading.read(path)
        return key

    def _inside(self, name: str) -> Path:
        if self._folder is None:
            raise _Unfollowed("this document has no folder to look for files in")
        bundle = self._folder.resolve()
        for folder in (bundle, bundle / "configs"):
            path = (folder / name).resolve()
            if not path.is_relative_to(bundle):
                raise _Unfollowed("the file lies outside of the bundle")
            if path.is_file():
                return path
        raise _Unfollowed("the bundle has no such file")


class _Unfollowed(ValueError):
    """Why a macro leads nowhere."""
