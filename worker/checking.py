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
    known = _models(analysis, Settings())
    if found := faults(analysis, known):
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


def _models(analysis: Analysis, settings: Settings) -> dict[str, ModelSpec]:
    """Return the models that an analysis names: the active version, else the shipped one."""
    wanted = {step.model for step in analysis.steps}
    stated = (*_shipped(), *_active(wanted, settings))
    specs = (metadata.parse(text, digest="")[0] for text in stated)
    return {spec.name: spec for spec in specs if spec is not None and spec.name in wanted}


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
