"""What a batch is asked to do: a source and analyses, checked before any row is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import addresses
from api.cli.outcome import ExitCode, Problem

if TYPE_CHECKING:
    from api.cli.context import Records

#: an analysis named so is a document of one's own, not a registered name
DOCUMENTS = (".yaml", ".yml")

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Folder of a PACS export, ZIP or TAR, DICOMDIR, or s3://bucket/prefix.",
        show_default=False,
    ),
]
AnalysisOption = Annotated[
    list[str] | None,
    typer.Option(
        "--analysis",
        metavar="NAME",
        help="NAME, NAME@VERSION or a YAML document of your own; repeatable; default: all.",
    ),
]


def require_source(given: str) -> str:
    """Return the source as an absolute path, for workers that run in another folder.

    What is in a bucket is returned as it is; the workers look whether it is there.

    Raises:
        Problem: it does not exist, cannot be read or is empty; nothing to analyse. Or an
            address of a kind that is not read; wrong usage.
    """
    source = Path(given)
    if addresses.is_address(given) and not source.exists():
        if fault := addresses.fault_of(given):
            raise Problem(fault, ExitCode.USAGE)
        return given
    if not source.exists():
        message = f"There is nothing to analyse: {source} does not exist."
        raise Problem(message, ExitCode.NOTHING_TO_ANALYSE)
    try:
        is_empty = source.is_dir() and _is_empty(source)
    except PermissionError as refused:
        message = f"{source} cannot be read: {refused.strerror}."
        raise Problem(message) from refused
    if is_empty:
        message = f"There is nothing to analyse: {source} is empty."
        raise Problem(message, ExitCode.NOTHING_TO_ANALYSE)
    return str(source.resolve())


def _is_empty(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def require_analyses(records: Records, names: Sequence[str]) -> list[str]:
    """Return the analyses asked for, in order and once each; an empty list stands for all.

    A name that ends in .yaml or .yml is a document of one's own, which is registered first.

    Raises:
        Problem: one of them is not registered, or its document is refused; wrong usage.
    """
    if not names:
        return []
    from api.cli.analyses import known, register_document

    names = [register_document(records, n) if n.endswith(DOCUMENTS) else n for n in names]
    found = known(records, names)
    may = {each.name for each in found} | {f"{each.name}@{each.version}" for each in found}
    if unknown := [name for name in names if name not in may]:
        message = f"There is no analysis {', '.join(unknown)}."
        mend = "There are " + ", ".join(sorted({each.name for each in found})) + "."
        raise Problem(message, ExitCode.USAGE, mend=mend)
    return list(dict.fromkeys(names))
