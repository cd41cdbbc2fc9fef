"""Wait for the answer of a child process that reads untrusted bytes, or say how it ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from pipeline.errors import ComputeFailed, StudyRejected
from pipeline.reasons import Reason

#: seconds between two looks at what the holder of the job wants
_TICK: Final = 0.1
#: seconds for a child to end after it has closed its connection
_LAST_BREATH: Final = 5.0
#: how a reader ends by its own fault, or by that of its input
_CRASHES: Final = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS}
)
#: what multiprocessing says of a child whose server is gone
_UNKNOWN: Final = 255


def wait_for(
    connection: Connection, *, seconds: float, checkpoint: Callable[[], None] | None
) -> None:
    """Wait until there is something to receive, also the end of the connection.

    Args:
        connection: to the child.
        seconds: how long it may take.
        checkpoint: called first, and then about ten times a second; what it raises ends the wait.

    Raises:
        ComputeFailed: the time was up.

    """
    deadline = time.monotonic() + seconds
    is_answered = False
    while not is_answered:
        if checkpoint is not None:
            checkpoint()
        is_answered = connection.poll(_TICK)
        if not is_answered and time.monotonic() > deadline:
            sentence = f"reading did not end within {seconds:g} seconds"
            raise ComputeFailed(sentence, Reason.PIXELS_DECODER_TIMEOUT)


def death_of(process: BaseProcess, checkpoint: Callable[[], None] | None) -> Exception:
    """Name how a child died that answered nothing; what ``checkpoint`` raises comes first.

    What crashes will crash again. Any other signal comes from outside (the kernel short of
    memory, an operator, a machine that stops), so another attempt may succeed; SIGALRM is our
    own end of time.
    """
    process.join(_LAST_BREATH)
    if checkpoint is not None:
        checkpoint()  # where everything is being stopped, that is the reason
    code = process.exitcode
    if code is None or code == _UNKNOWN:
        return ComputeFailed("the reader was lost", Reason.PIXELS_DECODER_DIED)
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    sentence = f"the reader died ({name})"
    if code == -signal.SIGALRM:
        return ComputeFailed(sentence, Reason.PIXELS_DECODER_TIMEOUT)
    if code < 0 and -code not in _CRASHES:
        return ComputeFailed(sentence, Reason.PIXELS_DECODER_DIED)
    return StudyRejected(sentence, Reason.PIXELS_DECODER_DIED)
