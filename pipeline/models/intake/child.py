"""The process that reads weights: bounded in memory and time, and it may die."""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any, Final

from pipeline.dicom.processes import confine, context
from pipeline.models.bundle import BundleRefused
from pipeline.models.intake import weights
from pipeline.models.intake.brought import IntakeLimits
from pipeline.models.intake.weights import Errand

#: how many times the size of a file of weights reading and writing it may take: the mapped file,
#: the clones, and what safetensors serialises
_COPIES: Final = 4
#: to start the process and import torch there, on a busy machine
_START_SECONDS: Final = 120.0


def convert(errand: Errand, limits: IntakeLimits) -> dict[str, list[int]]:
    """Do ``weights.convert`` in a process of its own.

    Raises:
        BundleRefused: as ``weights.convert``, or the process took more than the limits or died.

    """
    memory = limits.memory_bytes + _COPIES * errand.path.stat().st_size
    ours, theirs = context().Pipe()
    process = context().Process(
        target=serve, args=(theirs, errand, memory, limits.seconds), daemon=True
    )
    process.start()
    theirs.close()
    try:
        answer = _heard(ours, limits.seconds + _START_SECONDS)
    finally:
        process.kill()
        process.join()
        ours.close()
    if answer is None:
        sentence = f"{errand.name} takes more memory or time than is allowed, or is damaged"
        raise BundleRefused(sentence)
    if "faults" in answer:
        raise BundleRefused(answer["faults"])
    shapes: dict[str, list[int]] = answer["shapes"]
    return shapes


def serve(connection: Connection, errand: Errand, memory_bytes: int, seconds: float) -> None:
    """Carry one errand and answer with the shapes or the faults, as JSON."""
    # torch is imported by now, so its address space does not count
    confine(memory_bytes=memory_bytes, seconds=seconds)
    connection.send_bytes(json.dumps(answer_for(errand)).encode())


def answer_for(errand: Errand) -> dict[str, Any]:
    """Return ``{"shapes": ...}`` or ``{"faults": [...]}``. Never raises for what it reads."""
    try:
        return {"shapes": weights.convert(errand)}
    except BundleRefused as refused:
        return {"faults": refused.faults}
    except (MemoryError, RuntimeError):
        # torch's allocator says RuntimeError where Python says MemoryError
        return {"faults": [f"{errand.name} takes more memory than is allowed"]}


def _heard(connection: Connection, seconds: float) -> dict[str, Any] | None:
    """Return the answer, None where the process ended without one or took too long."""
    try:
        if not connection.poll(seconds):
            return None
        answer: dict[str, Any] = json.loads(connection.recv_bytes())
    except (EOFError, OSError):
        return None
    return answer
