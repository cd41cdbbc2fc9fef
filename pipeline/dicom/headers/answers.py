"""What a header reader answers for each file, and the message that many answers travel in.

Strings behind their lengths: quick to write and to read, and a reader that a hostile file has
taken over can make its parent do no more than refuse the message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from pipeline.reasons import Reason


class Indexed(NamedTuple):
    """A file that holds an image: whose it is, and its header."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    #: for ``InstanceHeader.unpack``
    packed: bytes


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a file is refused; the UIDs where its header told them before it failed."""

    reason: Reason
    sentence: str
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None


Answer: TypeAlias = Indexed | Refusal

#: lengths of the three UIDs, of the reason (0 = the file is indexed) and of what follows
_HEAD: Final = struct.Struct("<BBBBI")


def encode(answers: Iterable[Answer]) -> bytes:
    """Return the message of some answers."""
    parts: list[bytes] = []
    for answer in answers:
        if isinstance(answer, Indexed):
            study, series, instance, content = answer
            reason = b""
        else:
            study = answer.study_instance_uid or ""
            series = answer.series_instance_uid or ""
            instance = answer.sop_instance_uid or ""
            reason, content = answer.reason.value.encode(), answer.sentence.encode()
        uids = study.encode(), series.encode(), instance.encode()
        parts.append(_HEAD.pack(*map(len, uids), len(reason), len(content)))
        parts.extend((*uids, reason, content))
    return b"".join(parts)


def decode(message: bytes) -> Iterator[Answer]:
    """Yield the answers of a message.

    Raises:
        ValueError: the message is not one that ``encode`` makes.

    """
    place = 0
    while place < len(message):
        try:
            *lengths, rest = _HEAD.unpack_from(message, place)
        except struct.error as error:
            raise ValueError("a message that is cut short") from error
        place += _HEAD.size
        texts = []
        for length in lengths:
            texts.append(message[place : place + length].decode("ascii"))
            place += length
        content = message[place : place + rest]
        place += rest
        if place > len(message):
            raise ValueError("a message that is cut short")
        yield _answer(texts, content)


def _answer(texts: list[str], content: bytes) -> Answer:
    study, series, instance, reason = texts
    if not reason:
        return Indexed(study, series, instance, content)
    return Refusal(
        reason=Reason(reason),
        sentence=content.decode("utf-8"),
        study_instance_uid=study or None,
        series_instance_uid=series or None,
        sop_instance_uid=instance or None,
    )
