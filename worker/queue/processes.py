"""Starts the roles as child processes, watches them, restarts them and takes them down."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from worker.queue import tether
from worker.queue.settings import Settings

#: environment name under which a child finds the file descriptor to say "ready" on
READY_FD = "NIGHTSHIFT_READY_FD"

#: a child that never became ready this many times in a row cannot start
FUTILE_STARTS = 4
#: a command of others, which has no word for "ready", counts as ready once it lived this long
QUIET_READY_SECONDS = 3.0
LONGEST_BACKOFF_SECONDS = 30.0
#: after the grace of a shutdown a process has this long to wind up
WIND_UP_SECONDS = 10.0
#: and after that its supervisor leaves it this long to give its leases back and end
STOP_MARGIN_SECONDS = 5.0
#: a log larger than this is put aside when its process starts
LOG_BYTES = 20 * 2**20


class RoleCannotStart(Exception):
    """A role ended again and again before it was ready. The sentence ends with its last words."""


@dataclass
class _Child:
    """One place in the supervised set: its command, its process and its history."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_quiet: bool
    process: subprocess.Popen[bytes] | None = None
    ready_fd: int | None = None
    is_ready: bool = False
    started: float = 0.0
    futile: int = 0
    restarts: int = 0
    not_before: float = field(default=0.0)


class Supervisor:
    """A restarting parent of worker processes.

    Children lead sessions of their own, so that Ctrl-C reaches the supervisor alone and it can
    stop them in order; they end with it even when it is killed (``worker.queue.tether``).
    Start them from a thread that lives as long as the supervisor: Linux ties them to it.
    """

    def __init__(self, settings: Settings) -> None:
        """Take the settings that every child inherits as ``NIGHTSHIFT_*`` variables."""
        self._settings = settings
        self._logs = settings.home / "logs"
        self._children: list[_Child] = []

    def __enter__(self) -> Self:
        """Return itself; leaving the block stops every child."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop every child."""
        self.stop()

    def start(
        self,
        role: str,
        *,
        count: int = 1,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """Start ``count`` processes of a role: ``python -m worker ROLE``, or ``command``."""
        words = command or (sys.executable, "-P", "-m", "worker", role)
        for _ in range(count):
            number = sum(child.name.rpartition("-")[0] == role for child in self._children)
            child = _Child(f"{role}-{number}", tuple(words), dict(env or {}), command is not None)
            self._children.append(child)
            self._launch(child)

    def poll(self) -> None:
        """Note who became ready, restart the dead with back-off.

        Raises:
            RoleCannotStart: a child ended ``FUTILE_STARTS`` times without becoming ready.

        """
        for child in self._children:
            self._note_ready(child)
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
            if child.process is None and time.monotonic() >= child.not_before:
                child.restarts += 1
                self._launch(child)

    def wait_ready(self, *, seconds: float = 60.0) -> None:
        """Return when every child is ready.

        Raises:
            RoleCannotStart: as ``poll``, or one was not ready within ``seconds``.

        """
        give_up = time.monotonic() + seconds
        while not all(child.is_ready for child in self._children):
            self.poll()
            if time.monotonic() > give_up:
                late = ", ".join(child.name for child in self._children if not child.is_ready)
                raise RoleCannotStart(f"not ready within {seconds:.0f} s: {late}")
            time.sleep(0.05)

    def processes(self) -> dict[str, int]:
        """Return the process id of every living child by name, e.g. ``infer-0``."""
        return {
            child.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.poll() is None
        }

    def restarts(self) -> int:
        """Return how many children were started again."""
        return sum(child.restarts for child in self._children)

    def stop(self) -> None:
        """Ask the children to end; kill what is left once they had their time to wind up.

        Servers that others depend on are started first, so they end last.
        """
        grace = self._settings.stop_grace.total_seconds()
        give_up = time.monotonic() + grace + WIND_UP_SECONDS + STOP_MARGIN_SECONDS
        others = [child for child in self._children if not child.name.startswith("broker-")]
        brokers = [child for child in self._children if child.name.startswith("broker-")]
        for group in (others, brokers):
            for child in group:
                _send(child, signal.SIGTERM)
            for child in group:
                self._await_end(child, give_up)
        self._children.clear()

    def _await_end(self, child: _Child, give_up: float) -> None:
        """Wait for one child until ``give_up`` (monotonic), then kill its whole session."""
        if child.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.1, give_up - time.monotonic()))
        self._forget(child)

    def _launch(self, child: _Child) -> None:
        """Start the process of ``child``, tethered to this one, its words going to its log."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        environment = os.environ | environment_of(self._settings) | dict(child.environment)
        environment[READY_FD] = str(writing)
        words = [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid())]
        with self._open_log(child.name) as log:
            child.process = subprocess.Popen(
                [*words, *child.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        child.ready_fd, child.is_ready, child.started = reading, False, time.monotonic()

    def _open_log(self, name: str) -> IO[bytes]:
        """Open the log of a child for appending; a large one is put aside first."""
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._log_path(name)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _note_ready(self, child: _Child) -> None:
        """Mark the child ready when it said so, or has lived long without a word."""
        if child.is_ready or child.process is None or child.ready_fd is None:
            return
        with contextlib.suppress(BlockingIOError):
            child.is_ready = bool(os.read(child.ready_fd, 1))
        if child.is_quiet and child.process.poll() is None:
            child.is_ready |= time.monotonic() - child.started > QUIET_READY_SECONDS
        if child.is_ready:
            child.futile = 0

    def _bury(self, child: _Child) -> None:
        """Clear away a child that ended and set when it starts again.

        Raises:
            RoleCannotStart: it ended once too often without having become ready.

        """
        assert child.process is not None  # noqa: S101 - for the type checker; the caller looked
        code = child.process.returncode
        child.futile = 0 if child.is_ready else child.futile + 1
        self._forget(child)
        if child.futile >= FUTILE_STARTS:
            raise RoleCannotStart(
                f"{child.name} ended {child.futile} times before it was ready, "
                f"last with exit status {code}: {self._last_words(child.name)}"
            )
        wait = min(LONGEST_BACKOFF_SECONDS, 0.5 * 2**child.futile)
        child.not_before = time.monotonic() + wait

    def _last_words(self, name: str) -> str:
        """Return the last line of a child's log."""
        with self._log_path(name).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 2000))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _forget(self, child: _Child) -> None:
        """Kill what is left of the child's session (readers, forkservers) and close its pipe."""
        if child.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
        if child.ready_fd is not None:
            os.close(child.ready_fd)
        child.process, child.ready_fd, child.is_ready = None, None, False


def _send(child: _Child, sign: signal.Signals) -> None:
    """Send a signal to the child itself, if it lives. Its own children are its business."""
    if child.process is not None and child.process.poll() is None:
        child.process.send_signal(sign)


def say_ready() -> None:
    """Tell the supervisor, if there is one, that this process does its work now."""
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is None:
        return
    with contextlib.suppress(OSError):
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the settings that differ from their defaults as ``NIGHTSHIFT_*`` variables."""
    dumped = settings.model_dump(mode="json", exclude_defaults=True)
    dumped["home"] = str(settings.home)
    return {f"NIGHTSHIFT_{name.upper()}": _plain(settings, name, dumped[name]) for name in dumped}


def _plain(settings: Settings, name: str, value: object) -> str:
    """Return one setting as environment text; secrets in clear, lists as JSON."""
    secret = getattr(getattr(settings, name), "get_secret_value", None)
    if secret is not None:
        return str(secret())
    if isinstance(value, list):
        import json

        return json.dumps(value)
    return str(value)
