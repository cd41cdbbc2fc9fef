"""How soon does the API answer, and how much memory does it take?

    python -m bench.api_start --work FOLDER [--rounds 5]

Starts ``nightshift api`` as a process, asks /healthz until it answers, reads its memory, stops it.
Exits with 1 where the median is above --most-seconds or the memory above 150 MB. Linux only.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from bench.house import COMMAND
from records import database
from worker.queue.settings import Settings

MOST_MB = 150


def start_once(environment: dict[str, str], port: int) -> tuple[float, int]:
    """Start the API and stop it; return the seconds to its first answer and its memory in MB."""
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([str(COMMAND), "api"], env=environment, stdout=quiet, stderr=quiet)
    try:
        while not _answers(port):
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        process.wait()
    (resident,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return seconds, int(resident.split()[1]) // 1024


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
            return True
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.api_start", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where its home is")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most-seconds", type=float, default=1.0)
    options = parser.parse_args()
    home = options.work / "home"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    database.upgrade(Settings(home=home).database)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = int(door.getsockname()[1])
    plain = {k: v for k, v in os.environ.items() if not k.startswith("NIGHTSHIFT_")}
    # an installed program keeps its bytecode
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    environment = plain | {"NIGHTSHIFT_HOME": str(home), "NIGHTSHIFT_API_PORT": str(port)}
    rows = [start_once(environment, port) for _ in range(options.rounds)]
    seconds, memory = statistics.median(row[0] for row in rows), max(row[1] for row in rows)
    print("seconds to the first answer: " + ", ".join(f"{row[0]:.2f}" for row in rows))
    print(f"median {seconds:.2f} s (must {options.most_seconds:g}), {memory} MB (must {MOST_MB})")
    return 0 if seconds <= options.most_seconds and memory <= MOST_MB else 1


if __name__ == "__main__":
    sys.exit(main())
