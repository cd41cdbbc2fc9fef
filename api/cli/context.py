"""What a verb starts from: the settings, who is asking, and the records opened and up to date."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.cli.outcome import ExitCode, Problem

if TYPE_CHECKING:  # SQLAlchemy and pydantic cost half a second; `--help` needs neither
    from sqlalchemy.orm import Session, sessionmaker

    from worker.queue.settings import Settings


@dataclass(frozen=True)
class Records:
    """The records, opened for one command."""

    settings: Settings
    sessions: sessionmaker[Session]


def load_settings() -> Settings:
    """Read the settings once; a setting that cannot be read is wrong usage."""
    from pydantic import ValidationError

    from worker.queue.settings import Settings

    try:
        return Settings()
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        name = "NIGHTSHIFT_" + "_".join(str(part) for part in first["loc"]).upper()
        message = f"The setting {name} cannot be used: {first['msg']}."
        raise Problem(message, ExitCode.USAGE) from fault


def operator() -> str:
    """Return who is asking, as the audit writes it: the user of the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return f"uid {os.getuid()}"


def make_home(settings: Settings) -> None:
    """Make the home folder, readable by its owner alone: results are patient data."""
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as refused:
        message = f"The home folder {settings.home} cannot be made: {refused.strerror}."
        raise Problem(
            message, mend="Set NIGHTSHIFT_HOME to a folder that you may write."
        ) from refused


@contextmanager
def open_records(settings: Settings | None = None) -> Iterator[Records]:
    """Open the records for one command.

    The embedded database is brought to the newest schema here; a configured one is only
    checked, for its owner decides when it changes (``nightshift db upgrade``).
    """
    settings = settings or load_settings()
    make_home(settings)
    from records.database import DatabaseUnavailable, connect, session_factory

    try:
        bring_up_to_date(settings)
        engine = connect(settings.database)
        try:
            yield Records(settings, session_factory(engine))
        finally:
            engine.dispose()
    except DatabaseUnavailable as gone:
        raise Problem(str(gone)) from gone


def check_records(settings: Settings) -> None:
    """Refuse to start a service on records that cannot be used."""
    with open_records(settings):
        pass


def bring_up_to_date(settings: Settings) -> None:
    """Upgrade the embedded database if it is behind; refuse a configured one that is.

    The look comes first because an upgrade waits for every writer, and there are many listings.
    """
    from records.database import schema_state, upgrade

    if schema_state(settings.database).is_current:
        return
    if settings.database_url is None:
        upgrade(settings.database)
    if not (state := schema_state(settings.database)).is_current:
        raise Problem(state.sentence)
