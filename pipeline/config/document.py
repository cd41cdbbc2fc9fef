"""A configuration of a bundle: files read, merged and indexed by id. Data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.config import ids, macros, reading
from pipeline.config.refusal import ConfigRefused

__all__ = ["ConfigRefused", "Document"]


@dataclass(frozen=True)
class Document:
    """Merged configuration files, as they were written.

    Attributes:
        config: the content.
        folder: the bundle, in which macros may name other files.

    """

    config: Mapping[str, Any]
    folder: Path | None = None

    @classmethod
    def read(cls, paths: Sequence[Path | str], folder: Path | None = None) -> Document:
        """Read files and merge them, the later ones over the earlier ones.

        A key may be an id (``network_def::in_channels``); ``+key`` adds to a mapping or a list
        instead of replacing it.

        Args:
            paths: JSON or YAML files.
            folder: the bundle; by default the folder above ``configs``, or that of the first file.

        Raises:
            ConfigRefused: a file cannot be read as plain data, or does not merge.

        """
        files = [Path(path) for path in paths]
        merged: dict[str, Any] = {}
        for file in files:
            for name, value in reading.read(file).items():
                _merge(merged, name, value)
        reading.check("the merged configuration", merged)
        if folder is None and files:
            parent = files[0].resolve().parent
            folder = parent.parent if parent.name == "configs" else parent
        return cls(merged, folder)

    def with_values(self, values: Mapping[str, Any]) -> Document:
        """Return a document in which the given ids hold other plain values.

        Raises:
            ConfigRefused: a value is no plain data, or an id's parent is not there.

        """
        reading.check("the given values", dict(values))
        config = deepcopy(dict(self.config))
        for name, value in values.items():
            _merge(config, name, deepcopy(value))
        return Document(config, self.folder)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the raw part at an id, as it was written; the empty id is the whole."""
        try:
            return ids.find(self.config, name)
        except KeyError:
            return default

    def __contains__(self, name: str) -> bool:
        """Whether there is something at an id."""
        return ids.normalized(name) in self.items

    @cached_property
    def items(self) -> Mapping[str, Any]:
        """Every part by its id, macros and relative ids replaced; containers with their parts.

        Raises:
            ConfigRefused: the macros make the document too large.

        """
        found: dict[str, Any] = {}
        waiting: list[tuple[str, Any]] = [("", macros.expand(dict(self.config), self.folder))]
        while waiting:
            name, value = waiting.pop()
            found[name] = value
            waiting.extend((ids.join(name, key), child) for key, child in ids.children(value))
        return found


def _merge(config: dict[str, Any], key: str, value: Any) -> None:
    key = str(key)
    adds = key.startswith(ids.MERGE)
    name = ids.normalized(key.removeprefix(ids.MERGE))
    above, _, last = name.rpartition(ids.SEPARATOR)
    try:
        parent = ids.find(config, above)
    except KeyError:
        raise ConfigRefused(f"{key!r} is to be set, but there is no {above!r}") from None
    place = _place(parent, last)
    if place is None:
        raise ConfigRefused(f"{key!r} is to be set, but {above!r} has no place for it")
    is_there = isinstance(parent, list) or place in parent
    old = parent[place] if is_there else None
    if not adds or not is_there:
        parent[place] = value
    elif isinstance(old, dict) and isinstance(value, dict):
        old.update(value)
    elif isinstance(old, list) and isinstance(value, list):
        old.extend(value)
    else:
        raise ConfigRefused(f"{key!r} adds to something that is not of the same kind")


def _place(parent: Any, last: str) -> Any:
    """Return the key or index of a child, None where the parent cannot have it."""
    if isinstance(parent, dict):
        return next((key for key in parent if str(key) == last), last)
    if isinstance(parent, list) and last.isdecimal() and int(last) < len(parent):
        return int(last)
    return None
