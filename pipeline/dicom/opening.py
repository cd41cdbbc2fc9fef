"""Open files of a source: regular ones only, whatever has become of them since the walk."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file; links and anything else are refused, without blocking."""
    # O_NOFOLLOW and O_NONBLOCK: the walk saw a regular file, which may since have been replaced
    # by a link or by a FIFO that would block for ever.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileRefused(unreadable(error), Reason.FILE_UNREADABLE) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileRefused("it is not a regular file", Reason.FILE_NOT_REGULAR)
    return os.fdopen(descriptor, "rb")


def unreadable(error: OSError) -> str:
    """Say in a sentence, without the path, why a file cannot be read."""
    return f"it cannot be read: {os.strerror(error.errno) if error.errno else 'input/output error'}"
