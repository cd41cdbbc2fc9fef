"""The verbs about analysis documents: is one sound, does it fit its models, what may it say."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import models as shipped
from pipeline.analysis import Analysis, AnalysisInvalid, json_schema, parse
from pipeline.analysis.fitting import faults
from pipeline.models import bundle, metadata
from pipeline.models.intake import monai
from pipeline.models.spec import ModelSpec
from worker.queue.settings import Settings
from worker.verbs import FAILED, WELL, complain


def check_analysis(words: argparse.Namespace) -> int:
    """Check a document, also against the models it names, and print every fault on a line."""
    try:
        analysis = parse(words.path.read_text(encoding="utf-8"))
    except (AnalysisInvalid, UnicodeDecodeError) as invalid:
        return complain(str(invalid), FAILED)
    except OSError as unreadable:
        return complain(unreadable.strerror or "the file cannot be read", FAILED)
    known, channels = _models(analysis, Settings())
    if found := faults(analysis, known, channels):
        return complain("\n".join(found), FAILED)
    for name in sorted({step.model for step in analysis.steps} - set(known)):
        sys.stdout.write(f"model {name} is not at hand: what it can do was not checked\n")
    sys.stdout.write(f"{analysis.name} {analysis.version} is sound, digest {analysis.digest}\n")
    return WELL


def analysis_schema(words: argparse.Namespace) -> int:
    """Print the JSON schema of an analysis document."""
    del words
    json.dump(json_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return WELL


def _models(
    analysis: Analysis, settings: Settings
) -> tuple[dict[str, ModelSpec], dict[str, list[str]]]:
    """Return the models that an analysis names, and what their channels are called.

    Of each the active version, else the shipped one.
    """
    wanted = {step.model for step in analysis.steps}
    specs: dict[str, ModelSpec] = {}
    channels: dict[str, list[str]] = {}
    for text in (*_shipped(), *_active(wanted, settings)):
        spec, _ = metadata.parse(text, digest="")
        if spec is not None and spec.name in wanted:
            specs[spec.name] = spec
            channels[spec.name] = _channel_names(text)
    return specs, channels


def _channel_names(text: str) -> list[str]:
    stated, _ = monai.parse(json.loads(text))
    data = None if stated is None else stated.network_data_format
    return [] if data is None else next(iter(data.inputs.values())).channel_names


def _shipped() -> Iterator[str]:
    for root in shipped.__path__:
        for path in sorted(Path(root).glob(f"*/{bundle.METADATA}")):
            yield path.read_text(encoding="utf-8")


def _active(wanted: Iterable[str], settings: Settings) -> Iterator[str]:
    """Yield the metadata of the active versions; none where there is no current database."""
    from records import database, models

    try:
        if not database.schema_state(settings.database).is_current:
            return
        sessions = database.session_factory(database.connect(settings.database))
        with database.reading(sessions) as session:
            found = [models.active(session, name) for name in sorted(wanted)]
    except database.DatabaseUnavailable:
        return
    for version in found:
        if version is not None:
            yield json.dumps(version.bundle_metadata)
