"""The verb ``tune-model`` of ``python -m worker``: how a model runs fastest here, kept."""

from __future__ import annotations

import argparse
import json
import sys

from pipeline.models import autotune, bundle
from pipeline.models.bundle import BundleRefused
from pipeline.models.tuned import Cache
from worker import logging
from worker.queue.settings import Settings
from worker.verbs import FAILED, WELL, complain
from worker.warm import TUNED, device_of


def tune_model(words: argparse.Namespace) -> int:
    """Measure the bundle in a folder on the device of this machine; print what was found."""
    settings = Settings()
    logging.configure("WARNING", role="tune")
    settings.home.mkdir(parents=True, exist_ok=True)
    device, cache = device_of(settings), Cache(settings.home / TUNED)
    try:
        loaded = bundle.load(words.path)
        tuned = autotune.tune_bundle(loaded, device, cache, seconds=words.seconds)
    except (BundleRefused, autotune.NotTuned) as refused:
        return complain(str(refused), FAILED)
    said = {"device": str(device), "threads": device.threads, **tuned.model_dump(mode="json")}
    json.dump(said, sys.stdout)
    sys.stdout.write("\n")
    return WELL
