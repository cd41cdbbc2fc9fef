"""What a person needs to come in: free ports, Flower's password, the first API key."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli import printing
from api.cli.context import make_home, operator
from api.cli.outcome import Problem

if TYPE_CHECKING:
    from api.cli.context import Records
    from worker.queue.settings import Settings

FIRST_KEY = "first-admin"
PASSWORD_FILE = "flower-password"  # noqa: S105 - the name of the file, not what is in it


def require_port(host: str, port: int, setting: str) -> None:
    """Refuse to start when somebody else listens there.

    Raises:
        Problem: the port is in use, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as refused:
            message = f"Port {port} of {host} cannot be used: {os.strerror(refused.errno or 0)}."
            mend = f"Stop what uses it, or set NIGHTSHIFT_{setting}_PORT."
            raise Problem(message, mend=mend) from refused


def with_flower_password(settings: Settings) -> Settings:
    """Return settings in which Flower has a password: the configured one, or one made here once.

    It travels to Flower in the environment, never on a command line that others can list.
    """
    if settings.flower_password is not None:
        return settings
    from pydantic import SecretStr

    make_home(settings)
    password = _kept_secret(settings.home / PASSWORD_FILE)
    return settings.model_copy(update={"flower_password": SecretStr(password)})


def first_key(records: Records) -> str | None:
    """Make an admin key if there is no key yet, and return it; None when there is one."""
    from records import keys
    from records.database import unit_of_work

    if not records.settings.api_keys_required:
        return None
    with unit_of_work(records.sessions) as session:
        if keys.all_keys(session):
            return None
        made = keys.create(session, name=FIRST_KEY, roles=[keys.Role.ADMIN], by=operator())
    return made.secret


def say_addresses(settings: Settings, secret: str | None) -> None:
    """Print where everything is and how to log in."""
    flower = f"http://{settings.flower_host}:{settings.flower_port}"
    printing.say("Nightshift is up.")
    printing.say(f"  API      http://{settings.api_host}:{settings.api_port}/docs")
    printing.say(f"  Flower   {flower}  user {settings.flower_user}, {_password_place(settings)}")
    if secret:
        printing.say(f"  API key  {secret}")
        printing.say(f"           the key {FIRST_KEY}, shown this once; `nightshift keys` has more")
    printing.say(f"  Logs     {settings.home / 'logs'}")
    printing.say("`nightshift submit SOURCE` gives it work. Ctrl-C stops everything.")


def _password_place(settings: Settings) -> str:
    """Say where Flower's password is, not what it is: terminals are recorded."""
    kept = settings.home / PASSWORD_FILE
    return f"password in {kept}" if kept.exists() else "password as configured"


def _kept_secret(path: Path) -> str:
    """Return the secret kept in a file that only its owner may read; make it the first time."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    secret = secrets.token_urlsafe(18)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret + "\n")
    return secret
