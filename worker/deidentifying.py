"""The verbs ``deidentify`` and ``reidentify`` of ``python -m worker``.

Progress goes to stdout as lines of JSON, ``{"files": 120}``; the last line is the answer. Neither
holds anything of a patient: no names of files, no UIDs of the source.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.deidentify import pixel_rules, run
from pipeline.deidentify.carrying import Report
from pipeline.deidentify.identity_map import IdentityMap, MapRefused, read_map
from pipeline.deidentify.instance import Method
from pipeline.deidentify.keys import Key, KeyRefused, make_key, read_key
from pipeline.deidentify.profile import Option, OptionsContradict
from pipeline.deidentify.reidentify import reidentify as restore
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import SourceRefused
from pipeline.errors import PipelineError
from worker import logging
from worker.queue.settings import Settings
from worker.verbs import FAILED, NOTHING_TO_ANALYSE, USAGE, WELL

SOME_REFUSED: Final = 4
_SECONDS_BETWEEN_LINES: Final = 0.5
_MOST_PROCESSES: Final = 8


class _Unusable(ValueError):
    """A word of the command that cannot be used; says why in a sentence."""


def deidentify(words: argparse.Namespace) -> int:
    """De-identify a source into a folder."""
    settings = Settings()
    logging.configure("WARNING", role="deidentify")
    return _answer(lambda: _deidentify(words, settings))


def reidentify(words: argparse.Namespace) -> int:
    """Give results their original identifiers."""
    settings = Settings()
    logging.configure("WARNING", role="reidentify")
    return _answer(lambda: _reidentify(words, settings))


def _answer(carry: Callable[[], int]) -> int:
    try:
        return carry()
    except (_Unusable, KeyRefused, MapRefused, OptionsContradict, run.FolderTaken) as refused:
        return _complain(str(refused), USAGE)
    except pixel_rules.RulesInvalid as invalid:
        return _complain(str(invalid), USAGE)
    except SourceRefused as refused:
        return _complain(refused.sentence, NOTHING_TO_ANALYSE)
    except PipelineError as failed:
        return _complain(failed.sentence, FAILED)


def _deidentify(words: argparse.Namespace, settings: Settings) -> int:
    key = _key(words, settings, may_make=True)
    options = _options(words.option)
    method = Method(
        key=key,
        options=options,
        rules=_rules(words.pixel_rules),
        limits=HeaderLimits(pixels=settings.max_pixels),
    )
    order = run.Order(
        source=words.source,
        out=words.out,
        method=method,
        processes=min(_MOST_PROCESSES, len(os.sched_getaffinity(0))),
        seconds=settings.decode_timeout.total_seconds(),
        memory_bytes=settings.decode_memory_bytes,
    )
    identities = None
    if words.map is not None:
        identities = _begun_map(words.map, key, options)
    report = run.run(order, identities=identities, on_progress=_Progress())
    if identities is not None:
        _write_map(identities, words.map, key)
    said = {**_told(report), "kept": report.kept, "note": run.FACES}
    said |= {"options": sorted(options), "key": key.fingerprint}
    _attest(settings, "deidentified", words.by, said)
    return _end(report, said)


def _reidentify(words: argparse.Namespace, settings: Settings) -> int:
    key = _key(words, settings, may_make=False)
    try:
        identities = read_map(words.map, key)
    except OSError as unreadable:
        sentence = f"the identity map cannot be read: {unreadable.strerror}"
        raise _Unusable(sentence) from None
    report = restore(words.source, words.out, identities, key, _Progress())
    said = {**_told(report), "key": key.fingerprint}
    _attest(settings, "reidentified", words.by, said)
    return _end(report, said)


def _key(words: argparse.Namespace, settings: Settings, *, may_make: bool) -> Key:
    """Read the key, making it the first time. It is never a word of a command."""
    path: Path = words.key_file or settings.deidentify_key_path
    try:
        if may_make:
            make_key(path)
        return read_key(path)
    except OSError as unreadable:
        sentence = f"the key file cannot be used: {unreadable.strerror}"
        raise _Unusable(sentence) from None


def _options(names: Sequence[str]) -> frozenset[Option]:
    # that pixels are clean is claimed by pixel rules, instance by instance, and not asked for
    offered = [one for one in Option if one is not Option.CLEAN_PIXELS]
    unknown = sorted(set(names) - set(offered))
    if unknown:
        raise _Unusable(f"there is no option {', '.join(unknown)}; there are {', '.join(offered)}")
    return frozenset(Option(name) for name in names)


def _rules(path: Path | None) -> pixel_rules.PixelRules:
    if path is None:
        return pixel_rules.PixelRules()
    try:
        return pixel_rules.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise _Unusable("the pixel rules cannot be read") from None


def _begun_map(path: Path, key: Key, options: frozenset[Option]) -> IdentityMap:
    """Return the map of earlier runs, or an empty one."""
    try:
        return read_map(path, key)
    except FileNotFoundError:
        return IdentityMap(has_moved_dates=Option.MODIFIED_DATES in options)
    except OSError as unreadable:
        sentence = f"the identity map cannot be read: {unreadable.strerror}"
        raise _Unusable(sentence) from None


def _write_map(identities: IdentityMap, path: Path, key: Key) -> None:
    try:
        identities.write(path, key)
    except OSError as unwritable:
        sentence = f"the identity map cannot be written: {unwritable.strerror}"
        raise _Unusable(sentence) from None


def _told(report: Report) -> dict[str, Any]:
    return {"files": len(report.verdicts), "verdicts": report.counts}


def _end(report: Report, said: Mapping[str, Any]) -> int:
    _say(said)
    if not report.counts.get("ok"):
        return NOTHING_TO_ANALYSE if report.is_whole else SOME_REFUSED
    return WELL if report.is_whole else SOME_REFUSED


def _attest(settings: Settings, event: str, by: str, said: Mapping[str, Any]) -> None:
    """Append an audit record where this machine has records; without them there is no trail."""
    from records import audit, database

    try:
        if not database.schema_state(settings.database).is_current:
            return
        sessions = database.session_factory(database.connect(settings.database))
        with database.unit_of_work(sessions) as session:
            audit.append(
                session,
                event_id=f"source.{event}",
                action="E",
                by=by,
                object_type="deidentification_key",
                object_id=said["key"],
                detail=said,
            )
    except database.DatabaseUnavailable:
        _complain("the audit record could not be written: no database", FAILED)


class _Progress:
    """Says how many files are done, at most twice a second."""

    def __init__(self) -> None:
        self._next = time.monotonic()

    def __call__(self, count: int) -> None:
        """Take the count."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
            _say({"files": count})


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _complain(sentence: str, status: int) -> int:
    sys.stderr.write(sentence + "\n")
    return status
