"""JSON and YAML text to plain, bounded data."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.limits import (
    DEEPEST,
    LARGEST_INTEGER,
    LARGEST_JSON_BYTES,
    LARGEST_YAML_BYTES,
    LONGEST_STRING,
    MOST_NODES,
)
from pipeline.config.refusal import ConfigRefused

SUFFIXES = (".json", ".yaml", ".yml")


def read(path: Path) -> dict[str, Any]:
    """Read one file of a configuration.

    Raises:
        ConfigRefused: another kind of file, too large, not well formed, or not a mapping of plain
            data.

    """
    name = path.name
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigRefused(f"{name} is neither JSON nor YAML by its name")
    is_json = path.suffix.lower() == ".json"
    largest = LARGEST_JSON_BYTES if is_json else LARGEST_YAML_BYTES
    try:
        with path.open("rb") as stream:
            content = stream.read(largest + 1)
        if len(content) > largest:
            raise ConfigRefused(f"{name} is larger than {largest} bytes")
        text = content.decode("utf-8")
    except OSError:
        raise ConfigRefused(f"{name} cannot be read") from None
    except UnicodeDecodeError:
        raise ConfigRefused(f"{name} is not UTF-8") from None
    value = _json(name, text) if is_json else _yaml(name, text)
    if not isinstance(value, dict):
        raise ConfigRefused(f"{name} does not hold names and values")
    check(name, value)
    return value


def plain_yaml(name: str, text: str) -> Any:
    """Read YAML that came as a text of this ``name``: plain data within the limits.

    Raises:
        ConfigRefused: too large, not well formed, with aliases, merge keys or a key that comes
            twice, or no plain data.

    """
    if len(text) > LARGEST_YAML_BYTES:
        raise ConfigRefused(f"{name} is longer than {LARGEST_YAML_BYTES} characters")
    value = _yaml(name, text)
    check(name, value)
    return value


def check(name: str, value: Any) -> None:
    """Hold data against the limits.

    Raises:
        ConfigRefused: too many nodes, too deep, too long a string, or something that is no data.

    """
    waiting: list[tuple[Any, int]] = [(value, 0)]
    count = 0
    while waiting:
        item, depth = waiting.pop()
        count += 1
        if count > MOST_NODES:
            raise ConfigRefused(f"{name} holds more than {MOST_NODES} values")
        if depth > DEEPEST:
            raise ConfigRefused(f"{name} nests deeper than {DEEPEST} levels")
        if isinstance(item, dict):
            _check_keys(name, item)
            waiting.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list | tuple):
            waiting.extend((child, depth + 1) for child in item)
        else:
            _check_leaf(name, item)


def _check_keys(name: str, item: dict[Any, Any]) -> None:
    for key in item:
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise ConfigRefused(f"{name} holds a key that is neither a text nor a whole number")
        _check_leaf(name, key)
    if len(set(map(str, item))) < len(item):
        raise ConfigRefused(f"{name} gives a key twice, once as a text and once as a number")


def _check_leaf(name: str, item: Any) -> None:
    if isinstance(item, str):
        if len(item) > LONGEST_STRING:
            raise ConfigRefused(f"{name} holds a text longer than {LONGEST_STRING} characters")
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise ConfigRefused(f"{name} holds a number that is not finite")
    elif isinstance(item, int):
        if abs(item) > LARGEST_INTEGER:
            raise ConfigRefused(f"{name} holds a whole number beyond {LARGEST_INTEGER}")
    elif item is not None:
        raise ConfigRefused(f"{name} holds a {type(item).__name__}; only plain data is understood")


def _json(name: str, text: str) -> Any:
    def constant(found: str) -> Any:
        raise ConfigRefused(f"{name} holds {found}, which JSON does not know")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(found)
        if len(mapping) < len(found):
            keys = [key for key, _ in found]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ConfigRefused(f"{name} gives {twice!r} twice")
        return mapping

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise ConfigRefused(f"{name} is not well formed JSON") from None


#: libyaml's where PyYAML was built with it: some ten times faster, and the same language
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]  # one of two classes of the same kind
    """Safe YAML in which no key comes twice and none is merged in from elsewhere."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002, PyYAML's signature
        """Build one mapping."""
        keys = []
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise ConfigRefused("a YAML merge key is not understood; write the values out")
            keys.append(self.construct_object(key, deep=True))
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ConfigRefused(f"{twice!r} is given twice")
        return mapping


def _yaml(name: str, text: str) -> Any:
    depth = 0
    try:
        # events come one by one: a bomb is met before anything is built from it
        for event in yaml.parse(text, _SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ConfigRefused(f"{name} holds a YAML alias; write the values out")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST + 1:
                raise ConfigRefused(f"{name} nests deeper than {DEEPEST} levels")
        return yaml.load(text, _Loader)  # noqa: S506, a safe loader with fewer features
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = "" if mark is None else f": see line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigRefused(f"{name} is not well formed YAML{where}") from None
