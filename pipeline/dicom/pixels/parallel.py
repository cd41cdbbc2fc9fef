"""Share decoding among forked processes that write into the same memory."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.dicom.limits import DecodeLimits
from pipeline.dicom.processes import confine
from pipeline.tied import end_with_parent


class WorkerRefused(Exception):
    """A worker answered a refusal instead of its work."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A forked process and where its answer comes from."""

    pid: int
    answers: int


def share(
    count: int,
    work: Callable[[int], dict[str, Any]],
    *,
    limits: DecodeLimits,
    refusal: Callable[[Exception], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Do ``work(0)`` to ``work(count - 1)``, each once, and return their answers in order.

    Called in a process with one thread that may die with its workers: where a worker dies of a
    signal, this process dies of the same one, so that its parent sees how.

    Args:
        count: how many pieces of work there are.
        work: does one piece, writes what is large into shared memory, answers JSON values.
        limits: of this process; its workers together may take as much memory.
        refusal: what an exception of a piece is as an answer; the other pieces are dropped.

    Raises:
        WorkerRefused: with the answer of the first refusal.

    """
    processes = min(limits.processes or _cores(), count)
    if processes < 2:
        return [work(index) for index in range(count)]
    each = dataclasses.replace(limits, memory_bytes=limits.memory_bytes // processes)
    turns = [range(first, count, processes) for first in range(processes)]
    workers = [_fork(indices, work, each, refusal) for indices in turns]
    answers: list[dict[str, Any]] = [{}] * count
    for first, worker in enumerate(workers):
        told = _listen(worker)
        if "refusal" in told:
            for other in workers[first + 1 :]:
                os.kill(other.pid, signal.SIGKILL)
            raise WorkerRefused(told["refusal"])
        answers[first::processes] = told["answers"]
    return answers


def _cores() -> int:
    """Return how many cores this process may use, eight at most."""
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


def _fork(
    indices: range,
    work: Callable[[int], dict[str, Any]],
    limits: DecodeLimits,
    refusal: Callable[[Exception], dict[str, Any]],
) -> Worker:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Worker(pid=pid, answers=reader)
    try:
        end_with_parent()
        confine(memory_bytes=limits.memory_bytes, seconds=limits.seconds)
        try:
            told: dict[str, Any] = {"answers": [work(index) for index in indices]}
        except Exception as error:  # noqa: BLE001 - the edge of a process; see decoding.serve
            told = {"refusal": refusal(error)}
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(told).encode())
    finally:
        os._exit(0)


def _listen(worker: Worker) -> dict[str, Any]:
    with os.fdopen(worker.answers, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(worker.pid, 0)
    if os.WIFSIGNALED(status):
        with contextlib.suppress(OSError):  # SIGKILL cannot be ignored, nor be set back
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    answer: dict[str, Any] = json.loads(told)
    return answer
