"""Networks by name: the only way from a bundle's metadata to code.

A bundle names a row of ``TABLE`` and gives keyword arguments as plain data. Nothing is evaluated
and nothing is imported by a name that comes from a bundle. Importing this module does not import
torch, so that roles without it can still check metadata.

The rows lie in ``pipeline.models.table``: MONAI's, torchvision's and ours. A new network of ours is
a line of ``pipeline/models/table/ours.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pipeline.config.limits import LARGEST_ARGUMENT
from pipeline.models.table.monai import MONAI
from pipeline.models.table.ours import OURS
from pipeline.models.table.row import SPATIAL_DIMS, Row
from pipeline.models.table.torchvision import TORCHVISION

if TYPE_CHECKING:
    from torch import nn

TABLE: Mapping[str, Row] = {**MONAI, **TORCHVISION, **OURS}


def takes_missing(name: str | None) -> bool:
    """Say whether a network of this name answers where some of its channels are not there."""
    row = TABLE.get(name or "")
    return row is not None and row.takes_missing


def faults(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """Say everything that is wrong with a network's name and arguments, in sentences."""
    row = TABLE.get(name)
    if row is None:
        return [f"network {name!r} is not one of {', '.join(sorted(TABLE))}"]
    found = [
        f"network {name} has no argument {argument!r}; it knows {', '.join(sorted(row.allowed))}"
        for argument in sorted(set(arguments) - row.allowed)
    ]
    found += [
        f"network {name} needs the argument {needed!r}"
        for needed in (SPATIAL_DIMS, row.in_channels, row.outputs)
        if needed not in arguments
    ]
    found += [
        f"network argument {argument!r} holds a number beyond {LARGEST_ARGUMENT}"
        for argument, value in arguments.items()
        if _largest(value) > LARGEST_ARGUMENT
    ]
    if arguments.get(SPATIAL_DIMS, row.axes[0]) not in row.axes:
        known = " or ".join(map(str, row.axes))
        found.append(f"network {name} has {known} axes, {SPATIAL_DIMS} says otherwise")
    if row.entry.library and find_spec(row.entry.library) is None:
        found.append(f"network {name} needs the library {row.entry.library}")
    return found


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build the network, with fresh weights, in training mode.

    Raises:
        ValueError: the name or an argument is not in the table, or the class refuses a value.

    """
    found = faults(name, arguments)
    if found:
        raise ValueError("; ".join(found))
    row = TABLE[name]
    given = _tuples(arguments)
    if not row.takes_axes:
        del given[SPATIAL_DIMS]
    built: nn.Module = row.entry.load()(**given, **row.entry.fixed)
    if row.answer is not None:
        # a hook and no module around it: the weights keep their names
        built.register_forward_hook(_Taking(row.answer))
    return built


@dataclass(frozen=True)
class _Taking:
    """Takes one of a network's several answers. No closure, so that it can be copied."""

    answer: int | str

    def __call__(self, network: nn.Module, inputs: object, answers: Any) -> Any:
        """Return the answer that counts."""
        del network, inputs
        return answers[self.answer]


def _tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Turn JSON's lists into the tuples that MONAI writes, e.g. ``("group", {"num_groups": 8})``.

    Only where the first item is a name: MONAI's ResNet insists on lists for its layers.
    """
    return {
        argument: tuple(value)
        if isinstance(value, list) and value and isinstance(value[0], str)
        else value
        for argument, value in arguments.items()
    }


def _largest(value: object) -> float:
    if isinstance(value, bool):
        return 0.0
    if isinstance(value, int | float):
        return abs(value) if value == value else float("inf")  # noqa: PLR0124, NaN is not itself
    if isinstance(value, Mapping):
        return max(map(_largest, value.values()), default=0.0)
    if isinstance(value, list | tuple):
        return max(map(_largest, value), default=0.0)
    return 0.0
