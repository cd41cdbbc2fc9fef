"""Children that de-identify files side by side. A file that kills its child costs itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Final, Self

from pipeline.deidentify.process import Errand, Post, serve
from pipeline.dicom.processes import context
from pipeline.reasons import Reason

_TICK: Final = 1.0
_LARGEST_ANSWER: Final = 2**28
#: errands given out ahead of the one whose answer comes next, per child
_AHEAD: Final = 8

Answer = dict[str, Any]


@dataclass(eq=False)
class _Child:
    process: BaseProcess
    connection: Connection
    errand: Errand | None = None
    since: float = 0.0


class Pool:
    """A fixed number of children over one source.

    Args:
        post: what every child is told.
        processes: how many there are at most.
        seconds: for one file; then its child is ended.

    """

    def __init__(self, post: Post, *, processes: int, seconds: float) -> None:
        self._post = post
        self._wanted = processes
        self._seconds = seconds
        self._children: list[_Child] = []

    def __enter__(self) -> Self:
        """Return the pool; its children start with the first errands."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every child."""
        for child in self._children:
            child.process.kill()
        for child in self._children:
            child.process.join()
            child.connection.close()
        self._children.clear()

    def answers(self, errands: Iterable[Errand]) -> Iterator[tuple[Errand, Answer]]:
        """Yield every errand with its answer, in the order of the errands."""
        source = iter(errands)
        order: list[Errand] = []
        answered: dict[int, Answer] = {}
        while True:
            self._feed(source, order)
            while order and order[0].number in answered:
                errand = order.pop(0)
                yield errand, answered.pop(errand.number)
                self._feed(source, order)
            if not order:
                return
            for errand, answer in self._hear():
                answered[errand.number] = answer

    def ask(self, errand: Errand) -> Answer:
        """Return the answer to one errand, while no other is under way for it."""
        with Pool(self._post, processes=1, seconds=self._seconds) as alone:
            return next(answer for _, answer in alone.answers([errand]))

    def _feed(self, source: Iterator[Errand], order: list[Errand]) -> None:
        while len(order) < self._wanted * _AHEAD:
            child = self._idle()
            errand = None if child is None else next(source, None)
            if child is None or errand is None:
                return
            child.errand, child.since = errand, time.monotonic()
            child.connection.send(errand)
            order.append(errand)

    def _idle(self) -> _Child | None:
        for child in self._children:
            if child.errand is None:
                return child
        return self._start() if len(self._children) < self._wanted else None

    def _start(self) -> _Child:
        ours, theirs = context().Pipe()
        process = context().Process(target=serve, args=(theirs, self._post), daemon=True)
        process.start()
        theirs.close()
        child = _Child(process=process, connection=ours)
        self._children.append(child)
        return child

    def _hear(self) -> Iterator[tuple[Errand, Answer]]:
        busy = [child for child in self._children if child.errand is not None]
        ready = wait([child.connection for child in busy], timeout=_TICK)
        for child in busy:
            errand = child.errand
            if errand is None:
                continue
            if child.connection in ready:
                yield errand, self._receive(child)
            elif time.monotonic() - child.since > self._seconds:
                child.process.kill()
                yield errand, self._bury(child, Reason.PIXELS_DECODER_TIMEOUT, "it took too long")

    def _receive(self, child: _Child) -> Answer:
        try:
            answer: Answer = json.loads(child.connection.recv_bytes(_LARGEST_ANSWER))
        except (EOFError, OSError, ValueError):
            child.process.kill()
            return self._bury(child, Reason.PIXELS_DECODER_DIED, "reading it ended the reader")
        child.errand = None
        return answer

    def _bury(self, child: _Child, reason: Reason, sentence: str) -> Answer:
        child.process.join()
        child.connection.close()
        self._children.remove(child)
        return {"refused": reason.value, "sentence": sentence}
