"""The verbs about manifests: make one of a folder, and look through one before anybody trains."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Final

from pipeline.errors import TrainingRefused
from pipeline.training import layouts, recipe
from worker.queue.settings import Settings
from worker.store import PREPARED
from worker.verbs import FAILED, USAGE, WELL, complain

SECONDS_BETWEEN_LINES: Final = 0.5


def make_manifest(words: argparse.Namespace) -> int:
    """Write the manifest of a folder and print how many cases it has, as JSON."""
    try:
        made = layouts.make(words.folder, words.layout, words.out, alike=words.alike)
    except TrainingRefused as refused:
        return complain(refused.sentence, USAGE)
    except OSError as unwritable:
        return complain(unwritable.strerror or "it cannot be written", FAILED)
    json.dump({"cases": made.cases, "patients": made.patients}, sys.stdout)
    return WELL


def check_manifest(words: argparse.Namespace) -> int:
    """Print how far it is, line by line; then every fault and what is odd, as JSON."""
    try:
        wanted = recipe.parse(words.recipe.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return complain("the recipe cannot be read", USAGE)
    except TrainingRefused as refused:
        return complain(refused.sentence, USAGE)
    from pipeline.training import checking  # with torch and all that trains

    settings = Settings()
    shared = settings.store_path / PREPARED if settings.prepared_bytes else None
    report = checking.check(words.manifest, wanted, shared=shared, on_case=_Progress())
    json.dump(report.stated(), sys.stdout)
    return FAILED if report.faults else WELL


class _Progress:
    """Prints how many cases were read as a line of JSON, not more often than anybody looks."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def __call__(self, read: int, cases: int) -> None:
        at = time.monotonic()
        if at >= self._printed + SECONDS_BETWEEN_LINES:
            self._printed = at
            sys.stdout.write(json.dumps({"read": read, "of": cases}) + "\n")
            sys.stdout.flush()
