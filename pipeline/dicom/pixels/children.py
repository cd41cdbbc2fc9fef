"""The processes that decode, one read each: the next one is forked while nobody waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from pipeline.dicom.pixels import decoding, memory
from pipeline.dicom.processes import context

#: of a process that waits for its one order, and of one that has it
SPARE_NAME: Final = "nightshift-spare-decoder"
NAME: Final = "nightshift-decoder"


@dataclass(kw_only=True)
class Child:
    """A process that decodes one series into the memory it was given, and ends."""

    process: BaseProcess
    connection: Connection
    memory: memory.Memory

    def end(self) -> None:
        """Kill the process, if it still runs, and close the connection."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class Children:
    """Starts decoding processes, one ahead. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: Child | None = None
        self._used: list[Child] = []
        self._keeper: threading.Thread | None = None

    def take(self) -> Child:
        """Return a process for one read."""
        self.settle()
        with self._lock:
            child, self._spare = self._spare, None
        if child is not None and not child.process.is_alive():
            child.end()
            memory.pool.give_back(child.memory)
            child = None
        child = child or _start()
        child.process.name = NAME
        return child

    def prepare(self, used: Child) -> None:
        """Kill a process that was used; bury it, and start the next, in the background."""
        used.process.kill()
        with self._lock:
            self._used.append(used)
            if self._keeper is None or not self._keeper.is_alive():
                keeper = threading.Thread(target=self._keep, name=SPARE_NAME, daemon=True)
                keeper.start()
                self._keeper = keeper  # not before: others join whatever they find here

    def settle(self) -> None:
        """Wait until the dead are buried and the next process is there."""
        keeper = self._keeper
        if keeper is not None:
            keeper.join()

    def forget(self) -> None:
        """Leave all processes to another: called in a forked child, whose they are not."""
        self.__init__()  # type: ignore[misc]

    def _keep(self) -> None:
        # A machine out of processes or files refuses the next read itself, and says so.
        with contextlib.suppress(OSError):
            if self._spare is None:
                self._spare = _start()
        while self._used:
            self._used.pop().end()


def _start() -> Child:
    """Start a process and give it memory, which it maps while it waits for its order."""
    lent = memory.pool.take()
    ours, theirs = context().Pipe()
    process = context().Process(
        target=decoding.serve, args=(theirs, lent.size), daemon=True, name=SPARE_NAME
    )
    try:
        process.start()
        reduction.send_handle(ours, lent.descriptor, process.pid)
    except OSError:
        ours.close()
        memory.pool.give_back(lent)
        raise
    finally:
        theirs.close()
    return Child(process=process, connection=ours, memory=lent)


#: of this process
children: Final = Children()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=children.forget)
