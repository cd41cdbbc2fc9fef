"""The child process that makes new instances of files: one errand in, one answer out, as JSON.

It reads untrusted bytes, so it is confined and may die; its parent never unpickles from it.
"""

from __future__ import annotations

import contextlib
import errno
import json
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Protocol

from pipeline.deidentify.writing import Made, write
from pipeline.dicom.processes import confine
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.folder import unreadable
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import OpenFile, Source
from pipeline.errors import NO_ROOM
from pipeline.reasons import Reason

_NO_ROOM: Final = NO_ROOM | {errno.EROFS}


class Work(Protocol):
    """What is done to every file. Goes to the children once."""

    def make(self, file: OpenFile) -> Made:
        """Make another instance of the one in an open file.

        Raises:
            FileRefused: with the reason why not.

        """
        ...


@dataclass(frozen=True, kw_only=True)
class Post:
    """What one child is told at its start."""

    #: of the source, as ``open_source`` takes it
    address: str
    #: where the copies go, and where they wait until they are whole
    folder: Path
    waiting: Path
    work: Work
    #: beyond what the process has
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One file to carry over."""

    #: tells the errands of a run apart; names the file that waits
    number: int
    #: in the source
    name: str
    #: write even where a copy is there, to compare the two
    is_again: bool = False


def serve(connection: Connection, post: Post) -> None:
    """Answer errands until none comes."""
    confine(memory_bytes=post.memory_bytes, seconds=None)
    source = open_source(post.address)
    # Once the parent has gone there is nobody to answer: an end, not an error.
    with contextlib.suppress(EOFError, BrokenPipeError):
        while errand := connection.recv():
            connection.send_bytes(json.dumps(answer_for(source, errand, post)).encode())


def answer_for(source: Source, errand: Errand, post: Post) -> dict[str, Any]:
    """Carry one file into the folder of waiting files. Never raises for what it reads."""
    try:
        return _made(source, errand, post)
    except FileRefused as refused:
        return {"refused": refused.reason.value, "sentence": refused.sentence}
    except RecursionError:
        sentence = "its sequences are nested too deeply"
        return {"refused": Reason.FILE_TOO_NESTED.value, "sentence": sentence}
    except MemoryError:
        sentence = "it asks for more memory than is allowed"
        return {"refused": Reason.PIXELS_TOO_LARGE.value, "sentence": sentence}
    except OSError as error:
        is_full = error.errno in _NO_ROOM
        reason = Reason.RUN_DISK_FULL if is_full else Reason.FILE_UNREADABLE
        return {"failed" if is_full else "refused": reason.value, "sentence": unreadable(error)}
    except Exception as error:  # noqa: BLE001
        # The edge between broken bytes and us: pydicom raises whatever it meets, and quotes it.
        sentence = f"its header cannot be parsed ({type(error).__name__})"
        return {"refused": Reason.FILE_BAD_HEADER.value, "sentence": sentence}


def _made(source: Source, errand: Errand, post: Post) -> dict[str, Any]:
    with source.open(errand.name) as file:
        made = post.work.make(file)
        answer = {"made": made.name, "originals": made.originals, "digest": None}
        if errand.is_again or not (post.folder / made.name).exists():
            answer["digest"] = write(made, post.waiting / f"{errand.number}.dcm")
    return answer
