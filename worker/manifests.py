"""The verbs about manifests: make one of a folder, and look through one before anybody trains."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Final

from pipeline.errors import TrainingRefused
from pipeline.training import layouts, recipe
from pipeline.training.faults import ManifestInvalid
from worker.queue.settings import Settings
from worker.store import PREPARED
from worker.verbs import FAILED, USAGE, WELL, complain

if TYPE_CHECKING:
    from pipeline.training.checking import Report

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
    from pipeline.training import checking  # with torch and all that trains

    try:
        report = _checked(words)
    except (OSError, UnicodeDecodeError):
        return complain("the recipe cannot be read", USAGE)
    except ManifestInvalid as unplanned:  # an automatic recipe looks at the cases itself
        report = checking.Report(faults=unplanned.faults, cases={})
    except TrainingRefused as refused:
        return complain(refused.sentence, USAGE)
    json.dump(report.stated(), sys.stdout)
    return FAILED if report.faults else WELL


def _checked(words: argparse.Namespace) -> Report:
    """Look through the cases by the recipe, or by what an automatic one comes to here."""
    import torch

    from pipeline.training import checking, process

    stated = recipe.read(words.recipe.read_text(encoding="utf-8"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wanted = process.recipe_for(stated, words.manifest, device)
    settings = Settings()
    shared = settings.store_path / PREPARED if settings.prepared_bytes else None
    return checking.check(words.manifest, wanted, shared=shared, on_case=_Progress())


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
