"""Serve the app until told to stop."""

from __future__ import annotations

import errno
import os
import signal
import socket
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from api.http.app import create_app
from api.http.services import Services
from records.database import connect, schema_state, session_factory
from worker.queue.processes import say_ready
from worker.queue.settings import Settings

GRACE_S: Final = 10
_BACKLOG: Final = 512


class CannotServe(Exception):
    """The API cannot start. One sentence says what to do."""


class _Server(uvicorn.Server):
    """A server that ends its event streams first; they would outlast any patience."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door, and tell the supervisor, if there is one, that it is open."""
        await super().startup(sockets)
        say_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. Unlike uvicorn's, this does not raise the signal again: stopping is no failure."""
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running answers end, event streams at once."""
        self._services.stopping.set()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve HTTP until SIGINT or SIGTERM; running answers get ``GRACE_S`` to end.

    Raises:
        CannotServe: the tables do not fit this version, or the port cannot be had.
        OpenDoor: no keys are required on an address that others reach.
        DatabaseUnavailable: the database does not answer.

    """
    state = schema_state(settings.database)
    if not state.is_current:
        raise CannotServe(state.sentence)
    engine = connect(settings.database)
    try:
        _run(settings, session_factory(engine))
    finally:
        engine.dispose()


def _run(settings: Settings, sessions: sessionmaker[Session]) -> None:
    app = create_app(settings, sessions)
    listener = _listen(settings.api_host, settings.api_port)
    try:
        _Server(_config(app, settings), app.state.services).run(sockets=[listener])
    finally:
        listener.close()


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level=settings.log_level.lower(),
        access_log=False,  # addresses may be anything a client types; /metrics counts by route
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ws="none",
        lifespan="off",
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotServe(_why(error, host, port)) from error
    return listener


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use by another program; "
            "stop it or choose another with NIGHTSHIFT_API_PORT."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs privileges; choose one above 1023 with NIGHTSHIFT_API_PORT."
    return f"The address {host} port {port} cannot be listened on: {os.strerror(error.errno or 0)}."
