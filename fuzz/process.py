"""The child process that checks inputs."""

from __future__ import annotations

from ctypes import c_uint64
from multiprocessing.connection import Connection

from fuzz import inputs
from fuzz.checks import LIMITS, Checker
from pipeline.dicom.processes import confine


def serve(connection: Connection, number: c_uint64, images: c_uint64, seed: int) -> None:
    """Check inputs from ``number`` on until a finding; send what is wrong with it."""
    inputs.bases()
    confine(memory_bytes=LIMITS.memory_bytes, seconds=None)
    checker = Checker()
    while True:
        data = inputs.make(seed, number.value)
        try:
            images.value += checker.check(data, number.value)
        except Exception as error:  # noqa: BLE001 - whatever escapes is what is looked for
            connection.send(f"{type(error).__name__}: {error}")
            return
        number.value += 1
