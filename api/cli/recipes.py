"""How the command line reads a recipe: a YAML file, or the name of a model that ships with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.cli.outcome import ExitCode, Problem


def read_recipe(named: str) -> dict[str, Any]:
    """Return a recipe as plain data. What it says is checked by the trainer that reads it.

    Args:
        named: path of a YAML file, or name of a shipped model.
    """
    import yaml

    path = recipe_path(named)
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        twice = next(_given_twice(yaml.compose(text, yaml.SafeLoader)), None)
    except (OSError, UnicodeDecodeError) as refused:
        message = f"The recipe {named} cannot be read."
        raise Problem(message, ExitCode.USAGE) from refused
    except (yaml.YAMLError, RecursionError) as broken:
        message = f"The recipe {named} is not YAML: {broken}"
        raise Problem(message, ExitCode.USAGE) from broken
    if twice is not None:
        message = f"The recipe {named} gives {twice!r} twice."
        raise Problem(message, ExitCode.USAGE, mend="Keep the line that is meant.")
    if not isinstance(document, dict):
        message = f"The recipe {named} is not a mapping of names to values."
        raise Problem(message, ExitCode.USAGE)
    _require_plain(named, document)
    return document


def _require_plain(named: str, document: dict[Any, Any]) -> None:
    """Refuse what YAML knows and JSON, in which recipes are kept, does not."""
    odd = next(_not_plain(document, ""), None)
    if odd is not None:
        message = f"The recipe {named} gives {odd!r} what is neither text nor number."
        raise Problem(message, ExitCode.USAGE, mend="Put a date in quotation marks.")


def _not_plain(value: Any, field: str) -> Iterator[str]:
    """Yield the fields that are or hold dates, bytes or sets."""
    if isinstance(value, dict):
        for name, held in value.items():
            yield from _not_plain(name, str(name))
            yield from _not_plain(held, str(name))
    elif isinstance(value, list):
        for held in value:
            yield from _not_plain(held, field)
    elif value is not None and not isinstance(value, str | int | float):
        yield field


def _given_twice(node: Any) -> Iterator[str]:
    """Yield the fields that YAML gives more than once, of which a reader would take the last.

    The pipeline refuses them too, but what it knows is not for the command line to import.
    """
    import yaml

    if isinstance(node, yaml.MappingNode):
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode)]
        yield from (name for place, name in enumerate(names) if name in names[:place])
        for _, value in node.value:
            yield from _given_twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _given_twice(value)


def manifest_path(given: Path) -> str:
    """Return the manifest as an absolute path, for a trainer that runs in another folder."""
    if not given.is_file():
        message = f"The manifest {given} does not exist."
        raise Problem(message, ExitCode.USAGE)
    return str(given.resolve())


def recipe_path(named: str) -> Path:
    """Return the file that a recipe is in.

    Args:
        named: path of a YAML file, or name of a shipped model.
    """
    import models

    given = Path(named)
    if given.is_file():
        return given
    for root in models.__path__:
        shipped = Path(root) / given.name / "recipe.yaml"
        if shipped.is_file():
            return shipped
    message = f"The recipe {named} does not exist."
    mend = "Give the path of a YAML file, or the name of a shipped model that has a recipe."
    raise Problem(message, ExitCode.USAGE, mend=mend)
