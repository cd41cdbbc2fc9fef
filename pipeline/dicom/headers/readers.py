"""Read many headers in parallel child processes. A file that kills its reader costs itself."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Final, Self

from pipeline.dicom.headers.process import Answer, Refusal, serve
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.processes import context
from pipeline.reasons import Reason

#: files per message; an answer comes for each, so that a dead reader names its file
_CHUNK: Final = 64
#: seconds between two looks at readers that say nothing
_TICK: Final = 1.0


@dataclass(eq=False)
class _Reader:
    """One child, and the files it has been given and not answered for, in order."""

    process: BaseProcess
    connection: Connection
    pending: deque[str] = field(default_factory=deque)
    heard: float = 0.0


class HeaderReaders:
    """A pool of header readers over one source.

    Args:
        address: of the source, as ``open_source`` takes it.
        processes: how many children read at once.
        limits: bounds of each child and each header.
        salt: key of the patient digests of this scan.

    """

    def __init__(self, address: str, *, processes: int, limits: HeaderLimits, salt: bytes) -> None:
        self._arguments = (address, limits, salt)
        self._limits = limits
        self._wanted = processes
        self._readers: list[_Reader] = []

    def __enter__(self) -> Self:
        """Return the pool; its children start with the first files."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every child."""
        for reader in self._readers:
            reader.process.kill()
        for reader in self._readers:
            reader.process.join()
            reader.connection.close()

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Answer]]:
        """Yield (name, answer) for every name, in the order in which the answers come."""
        source = iter(names)
        while True:
            self._feed(source)
            busy = [reader for reader in self._readers if reader.pending]
            if not busy:
                return
            ready = wait([reader.connection for reader in busy], timeout=_TICK)
            for reader in busy:
                if reader.connection in ready:
                    yield self._receive(reader)
                elif time.monotonic() - reader.heard > self._limits.seconds:
                    reader.process.kill()
                    yield self._bury(reader, Reason.FILE_UNREADABLE, "reading it took too long")

    def _feed(self, source: Iterator[str]) -> None:
        """Give every idle reader a chunk; start readers while there is more to read."""
        for reader in self._readers:
            if not reader.pending:
                self._give(reader, list(itertools.islice(source, _CHUNK)))
        while len(self._readers) < self._wanted:
            chunk = list(itertools.islice(source, _CHUNK))
            if not chunk:
                return
            self._give(self._start(), chunk)

    def _start(self) -> _Reader:
        ours, theirs = context().Pipe()
        process = context().Process(target=serve, args=(theirs, *self._arguments), daemon=True)
        process.start()
        theirs.close()
        reader = _Reader(process=process, connection=ours)
        self._readers.append(reader)
        return reader

    def _give(self, reader: _Reader, chunk: list[str]) -> None:
        if chunk:
            reader.pending.extend(chunk)
            reader.heard = time.monotonic()
            reader.connection.send(chunk)

    def _receive(self, reader: _Reader) -> tuple[str, Answer]:
        try:
            answer: Answer = reader.connection.recv()
        except (EOFError, OSError):
            return self._bury(reader, Reason.FILE_BAD_HEADER, "reading it ended the reader")
        reader.heard = time.monotonic()
        return reader.pending.popleft(), answer

    def _bury(self, reader: _Reader, reason: Reason, sentence: str) -> tuple[str, Answer]:
        """Blame the file a dead reader was at; a new reader takes the rest of its chunk."""
        reader.process.join()
        reader.connection.close()
        self._readers.remove(reader)
        culprit, rest = reader.pending.popleft(), list(reader.pending)
        if rest:
            self._give(self._start(), rest)
        return culprit, Refusal(reason=reason, sentence=sentence)
