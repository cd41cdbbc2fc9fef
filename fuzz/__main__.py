"""Fuzz the header walker and the gate.

    python -m fuzz [--seconds 600] [--seed S] [--out FOLDER]

Inputs are made from pydicom's test files and from made ones (``fuzz.inputs``) and checked in a
confined child process (``fuzz.checks``): nothing but a refusal escapes, both ways of reading agree,
none takes more than a few seconds or more memory than it may. A child that dies or hangs is a
finding, too. Inputs that fail are written to FOLDER; exits with 1 where there are any. The same
seed gives the same inputs in the same order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import secrets
import sys
import time
from ctypes import c_uint64
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from fuzz import inputs
from fuzz.process import serve

#: seconds for one input
_PATIENCE: Final = 10.0
#: findings after which there is no use in going on
_ENOUGH: Final = 20


def fuzz(seed: int, seconds: float, out: Path) -> int:
    """Fuzz for some time; print and return how many findings there were."""
    context = multiprocessing.get_context("forkserver")
    number, images = context.RawValue(c_uint64, 0), context.RawValue(c_uint64, 0)
    end, findings = time.monotonic() + seconds, 0
    while time.monotonic() < end and findings < _ENOUGH:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=serve, args=(theirs, number, images, seed), daemon=True)
        process.start()
        theirs.close()
        found = _watch(ours, number, end)
        process.kill()
        process.join()
        if found is not None:
            findings += 1
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{seed}-{number.value}.dcm"
            path.write_bytes(inputs.make(seed, number.value))
            print(f"input {number.value}: {found}: {path}", flush=True)
            number.value += 1
    print(f"seed {seed}: {number.value} inputs, {images.value} of them images, {findings} findings")
    return findings


def _watch(child: Connection, number: c_uint64, end: float) -> str | None:
    """Wait for what a child finds; None where time is up."""
    at, since = -1, time.monotonic()
    while time.monotonic() < end:
        if child.poll(0.2):
            try:
                return str(child.recv())
            except EOFError:
                return "the process died"
        if number.value != at:
            at, since = number.value, time.monotonic()
        elif time.monotonic() - since > _PATIENCE:
            return f"it takes more than {_PATIENCE:g} seconds"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} seconds", flush=True)
    return 1 if fuzz(seed, options.seconds, options.out) else 0


if __name__ == "__main__":
    sys.exit(main())
