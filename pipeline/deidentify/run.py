"""De-identify a whole source into a folder: a verdict for every file, the same again next time."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.deidentify import carrying
from pipeline.deidentify.carrying import Report, carry, unwritable
from pipeline.deidentify.identity_map import IdentityMap
from pipeline.deidentify.instance import Method
from pipeline.deidentify.profile import EDITION, rules
from pipeline.dicom.sources.opening import open_source
from pipeline.errors import PipelineError

STAMP: Final = "deidentification.json"
TABLE: Final = "deidentified.csv"
SUMMARY: Final = "summary.json"
FACES: Final = (
    "Faces are not removed: from thin slices of a head a face can be drawn (PS3.15 E.3.2 is not "
    "offered)."
)


class FolderTaken(PipelineError):
    """The folder holds something else than an earlier part of the same copy."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is de-identified, how and where to."""

    #: of the source, as ``open_source`` takes it
    source: str
    out: Path
    method: Method
    processes: int = 1
    #: seconds for one file, and the memory its child may take beyond its own
    seconds: float = 120.0
    memory_bytes: int = 8 * 2**30


def run(
    order: Order, *, identities: IdentityMap | None, on_progress: Callable[[int], None]
) -> Report:
    """De-identify every file of a source. What an earlier run has copied is not copied again.

    Args:
        order: what, how and where to.
        identities: what the originals of the copies are kept in; None = nowhere.
        on_progress: called with the number of files done.

    Raises:
        SourceRefused: the source does not exist or cannot be listed.
        FolderTaken: the folder holds a copy by another key or other options.
        ComputeFailed: the folder cannot be written.

    """
    method = order.method
    rules(method.options)
    next(iter(open_source(order.source).entries()), None)  # nothing is made of no source
    _claim(order)
    keep = _nowhere if identities is None else identities.add
    carried = carrying.Order(
        source=order.source,
        out=order.out,
        work=method,
        key=method.key,
        processes=order.processes,
        seconds=order.seconds,
        memory_bytes=order.memory_bytes,
    )
    report = carry(carried, keep=keep, on_progress=on_progress)
    _write_reports(order, report)
    return report


def _nowhere(originals: object) -> None:
    """Keep nothing of what was."""


def _claim(order: Order) -> None:
    """Make the folder, or find in it an earlier part of the same copy."""
    method = order.method
    said = {
        "made_by": "Nightshift",
        "profile": f"DICOM PS3.15 {EDITION} Annex E",
        "options": sorted(method.options),
        "key": method.key.fingerprint,
        "pixel_rules": hashlib.sha256(repr(method.rules).encode()).hexdigest(),
    }
    text = json.dumps(said, indent=2) + "\n"
    stamp = order.out / STAMP
    try:
        order.out.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = sorted(path.name for path in order.out.iterdir())
        if STAMP in there:
            if stamp.read_text(encoding="ascii") == text:
                return
            sentence = "the folder holds a copy made with another key, options or pixel rules"
            raise FolderTaken(sentence)
        if there:
            raise FolderTaken("the folder is not empty")
        stamp.write_text(text, encoding="ascii")
    except OSError as error:
        raise unwritable(error) from None


def _write_reports(order: Order, report: Report) -> None:
    summary: dict[str, Any] = {
        "profile": f"DICOM PS3.15 {EDITION} Annex E, Basic Application Level Profile",
        "options": sorted(order.method.options),
        "key": order.method.key.fingerprint,
        "files": len(report.verdicts),
        "verdicts": report.counts,
        "note": FACES,
    }
    try:
        with (order.out / TABLE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["number", "source", "reason", "detail", "copy"])
            for one in report.verdicts:
                writer.writerow([one.number, one.source, one.reason.value, one.detail, one.copy])
        text = json.dumps(summary, indent=2) + "\n"
        (order.out / SUMMARY).write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(error) from None
