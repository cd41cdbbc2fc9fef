"""Read many headers in parallel child processes. A file that kills its reader costs itself."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from ctypes import c_uint64
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Final, Self

from pipeline.dicom.headers.answers import Answer, Refusal, decode
from pipeline.dicom.headers.process import serve
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.processes import context
from pipeline.reasons import Reason

#: files per message: a message costs as much as a few files
_CHUNK: Final = 128
#: characters of the names in a message: so few that a reader's pipe takes them at once, whatever
#: the reader is busy with (were both sides to wait until the other reads, they would for ever)
_NAMES: Final = 1 << 14
#: messages a reader has at once, so that it need not wait for the next
_AHEAD: Final = 2
#: seconds between two looks at readers that say nothing
_TICK: Final = 1.0


@dataclass(eq=False)
class _Reader:
    """One child, and the chunks it has been given and not answered for, in order."""

    process: BaseProcess
    connection: Connection
    #: files read, as the child counts them
    done: c_uint64
    chunks: deque[list[str]] = field(default_factory=deque)
    #: files whose answers have come
    answered: int = 0
    #: ``done`` when it was last seen to grow, and when that was
    seen: int = 0
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
        #: what readers that died had not read
        self._left: deque[list[str]] = deque()

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
            busy = [reader for reader in self._readers if reader.chunks]
            if not busy:
                return
            ready = wait([reader.connection for reader in busy], timeout=_TICK)
            for reader in busy:
                if reader.connection in ready:
                    yield from self._receive(reader)
                elif self._hangs(reader):
                    reader.process.kill()
                    yield self._bury(reader, Reason.FILE_UNREADABLE, "reading it took too long")

    def _feed(self, source: Iterator[str]) -> None:
        """Keep every reader busy; start readers while there is more to read."""
        for depth in range(_AHEAD):
            for reader in list(self._readers):
                if len(reader.chunks) == depth and not self._give(reader, source):
                    return
            while depth == 0 and len(self._readers) < self._wanted:
                chunk = self._next(source)
                if not chunk:
                    return
                self._send(self._start(), chunk)

    def _next(self, source: Iterator[str]) -> list[str]:
        if self._left:
            return self._left.popleft()
        chunk: list[str] = []
        length = 0
        for name in itertools.islice(source, _CHUNK):
            chunk.append(name)
            length += len(name)
            if length >= _NAMES:
                break
        return chunk

    def _give(self, reader: _Reader, source: Iterator[str]) -> bool:
        chunk = self._next(source)
        if chunk:
            self._send(reader, chunk)
        return bool(chunk)

    def _start(self) -> _Reader:
        ours, theirs = context().Pipe()
        done = context().RawValue(c_uint64, 0)
        arguments = (theirs, done, *self._arguments)
        process = context().Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        reader = _Reader(process=process, connection=ours, done=done)
        self._readers.append(reader)
        return reader

    def _send(self, reader: _Reader, chunk: list[str]) -> None:
        if not reader.chunks:
            reader.heard = time.monotonic()
        reader.chunks.append(chunk)
        try:
            reader.connection.send(chunk)
        except OSError:
            return  # it has died: that is seen, and dealt with, where its answer is waited for

    def _receive(self, reader: _Reader) -> Iterator[tuple[str, Answer]]:
        try:
            chunk = reader.chunks[0]
            answers = list(zip(chunk, decode(reader.connection.recv_bytes()), strict=True))
        except (EOFError, OSError, ValueError):
            # A message that makes no sense comes from a reader that a file has taken over.
            reader.process.kill()
            yield self._bury(reader, Reason.FILE_BAD_HEADER, "reading it ended the reader")
            return
        reader.chunks.popleft()
        reader.answered += len(chunk)
        reader.heard = time.monotonic()
        yield from answers

    def _hangs(self, reader: _Reader) -> bool:
        if reader.done.value != reader.seen:
            reader.seen, reader.heard = reader.done.value, time.monotonic()
        return time.monotonic() - reader.heard > self._limits.seconds

    def _bury(self, reader: _Reader, reason: Reason, sentence: str) -> tuple[str, Answer]:
        """Blame the file a dead reader was at; what else it was given is read by others.

        What it had read of the chunk without having said so is read again.
        """
        reader.process.join()
        reader.connection.close()
        self._readers.remove(reader)
        at = reader.done.value - reader.answered
        if at >= len(reader.chunks[0]) and len(reader.chunks) > 1:
            # It had read its chunk and had not yet said so.
            self._left.append(reader.chunks.popleft())
            at = 0
        chunk = reader.chunks[0]
        culprit = chunk.pop(min(at, len(chunk) - 1))
        self._left.extend(rest for rest in reader.chunks if rest)
        return culprit, Refusal(reason=reason, sentence=sentence)
