"""From a name to its row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pipeline.config.tables import functions, inferers, networks, placeholders, transforms
from pipeline.config.tables.entry import Entry, Kind, rows
from pipeline.config.tables.ours import OURS

#: functions that a document may name as a target
_FUNCTIONS = frozenset({"torch.device"})


def find(name: str) -> Entry | None:
    """Return the row of a full name (``monai.transforms.Spacingd``), None where no table has it."""
    table = _by_full_name()
    package, _, last = name.rpartition(".")
    return table.get(name) or table.get(f"{package}.{transforms.plain_name(last)}")


def find_target(name: str) -> Entry | None:
    """Return the row of a ``_target_``: a full name, or one of MONAI's without its module."""
    if "." in name:
        entry = find(name)
    else:
        short = _by_short_name()
        entry = short.get(name) or short.get(transforms.plain_name(name))
    is_target = entry and (entry.is_built or entry.name in _FUNCTIONS)
    return entry if is_target else None


def purpose(entry: Entry) -> str:
    """Say what a placeholder does."""
    return _purposes()[entry.name]


@cache
def _by_full_name() -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for room, kind, special in (
        (networks.PACKAGES, Kind.NETWORK, networks.SPECIAL),
        (transforms.PACKAGES, Kind.TRANSFORM, {}),
        (inferers.PACKAGES, Kind.INFERER, inferers.SPECIAL),
    ):
        for package, names in room.items():
            found.update(rows(package, names, kind, special))
    for package, listed in placeholders.PACKAGES.items():
        plain = {module: row for module, (row, _) in listed.items()}
        found.update(rows(package, plain, Kind.PLACEHOLDER, {}))
    for table, kind in ((functions.FUNCTIONS, Kind.FUNCTION), (functions.VALUES, Kind.VALUE)):
        for module, row in table.items():
            found.update(rows(module, {"": row}, kind, {}))
    found.update({alias: found[name] for alias, name in functions.ALIASES.items()})
    return {**found, **OURS}


@cache
def _by_short_name() -> Mapping[str, Entry]:
    return {
        entry.attribute: entry
        for entry in _by_full_name().values()
        if entry.module.startswith("monai.") and entry.is_built
    }


@cache
def _purposes() -> Mapping[str, str]:
    return {
        f"{package}.{module}.{name}": purpose
        for package, listed in placeholders.PACKAGES.items()
        for module, (names, purpose) in listed.items()
        for name in names.split()
    }
