"""``python -m worker verify-gate``: the verdict of a gate computed again from what was kept."""

from __future__ import annotations

import argparse
import json
import sys

from pipeline.errors import PipelineError
from pipeline.training import verdict_again
from records import database, gates, models
from records.database import reading
from worker import logging
from worker.queue.settings import Settings
from worker.store import Store
from worker.verbs import FAILED, WELL, complain


def verify_gate(words: argparse.Namespace) -> int:
    """Compute the gate of a version again from what was kept; print both verdicts as JSON."""
    settings = Settings()
    logging.configure("WARNING", role="gate")
    store = Store(settings.store_path, reserve_bytes=settings.disk_reserve_bytes)
    sessions = database.session_factory(database.connect(settings.database))
    try:
        with reading(sessions) as session:
            version = models.get(session, words.name, words.version)
            statement = gates.latest(session, version).statement
        found = verdict_again.again(statement, lambda sha256: store.path(sha256).read_bytes())
    except (models.ModelVersionMissing, gates.GateMissing) as missing:
        return complain(str(missing), FAILED)
    except PipelineError as broken:
        return complain(broken.sentence, FAILED)
    except FileNotFoundError:
        return complain("a file that the gate was computed from is not in the store", FAILED)
    stated = statement["verdict"]
    json.dump({"is_same": found == stated, "stated": stated, "found": found}, sys.stdout)
    sys.stdout.write("\n")
    return WELL if found == stated else FAILED
