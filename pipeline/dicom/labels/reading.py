"""Read the labels of one volume from DICOM SEG, RT Structure Set and SR, in a child process."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.answering import death_of, wait_for
from pipeline.dicom.labels import process
from pipeline.dicom.labels.grid import Grid
from pipeline.dicom.labels.label_read import Evaluation, LabelBox, LabelRead, Region
from pipeline.dicom.labels.options import Options
from pipeline.dicom.processes import context
from pipeline.errors import ComputeFailed, StudyRejected
from pipeline.reasons import Reason
from pipeline.results import Code
from pipeline.volume import Input

_ALL: Final = Options()
_LARGEST_ANSWER: Final = 2**28
_NONSENSE: Final = "the reader of labels answered nonsense"


@dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """The label objects of one volume: SEG, RT Structure Set, SR and the SEG it refers to."""

    #: address of the source, as ``open_source`` takes it
    source: str
    #: of the files in the source
    names: tuple[str, ...]


def read_labels(
    files: LabelFiles,
    onto: Input,
    *,
    options: Options = _ALL,
    checkpoint: Callable[[], None] | None = None,
) -> LabelRead:
    """Read label objects onto the grid of an image, each by what it says of its own place.

    Args:
        files: what to read; the kind of each is told by its SOP class.
        onto: the volume or the image as it was read, regridded or not.
        options: what is wanted, and within which limits.
        checkpoint: called about ten times a second; what it raises ends the child.

    Raises:
        StudyRejected: label.invalid, label.mismatch, or the reason why a file cannot be read.
        ComputeFailed: a file could not be opened, the child was killed or ran out of time.

    """
    order = process.Order(
        source=files.source, names=files.names, grid=Grid.of(onto), options=options
    )
    ours, theirs = context().Pipe()
    child = context().Process(target=process.serve, args=(theirs, order), daemon=True)
    child.start()
    theirs.close()
    try:
        with ours:
            wait_for(ours, seconds=options.limits.seconds, checkpoint=checkpoint)
            answer = json.loads(ours.recv_bytes(_LARGEST_ANSWER))
            _raise_refusal(answer)
            return _label_read(answer, ours, order)
    except (EOFError, OSError):
        raise death_of(child, checkpoint) from None
    except (AttributeError, KeyError, TypeError, ValueError):
        # Only a child that a hostile file has taken over answers like this.
        raise StudyRejected(_NONSENSE, Reason.PIXELS_DECODER_DIED) from None
    finally:
        child.kill()
        child.join()


def _raise_refusal(answer: Mapping[str, Any]) -> None:
    if "rejected" in answer:
        raise StudyRejected(str(answer["sentence"]), Reason(answer["rejected"]))
    if "failed" in answer:
        raise ComputeFailed(str(answer["sentence"]), Reason(answer["failed"]))


def _label_read(answer: Mapping[str, Any], voxels: Connection, order: process.Order) -> LabelRead:
    limit, taken, regions = order.options.limits.region_bytes, 0, []
    for described in answer["regions"]:
        shape = _three(described["shape"])
        taken += math.prod(shape)
        if min(shape) < 0 or taken > limit:
            raise ValueError(_NONSENSE)
        regions.append(_region(described, shape, voxels, order.grid.shape))
    return LabelRead(
        shape=order.grid.shape,
        regions=tuple(regions),
        boxes=tuple(_box(described) for described in answer["boxes"]),
        evaluations=tuple(_evaluation(described) for described in answer["evaluations"]),
        warnings=tuple(str(sentence) for sentence in answer["warnings"]),
    )


def _region(
    described: Mapping[str, Any],
    shape: tuple[int, int, int],
    voxels: Connection,
    grid: Sequence[int],
) -> Region:
    start, count = _three(described["start"]), math.prod(shape)
    is_inside = all(
        first >= 0 and first + length <= extent
        for first, length, extent in zip(start, shape, grid, strict=True)
    )
    if not is_inside:
        raise ValueError(_NONSENSE)
    number = described["number"]
    return Region(
        name=str(described["name"]),
        codes=_codes(described["codes"]),
        number=None if number is None else int(number),
        start=start,
        voxels=_bits(voxels, count).reshape(shape),
    )


def _bits(voxels: Connection, count: int) -> NDArray[np.bool_]:
    if not count:
        return np.zeros(0, np.bool_)
    packed = np.frombuffer(voxels.recv_bytes(count // 8 + 1), np.uint8)
    return np.unpackbits(packed, count=count).view(np.bool_)


def _box(described: Mapping[str, Any]) -> LabelBox:
    s0, r0, c0, s1, r1, c1 = (float(value) for value in described["index_box"])
    return LabelBox(
        name=str(described["name"]),
        codes=_codes(described["codes"]),
        index_box=(s0, r0, c0, s1, r1, c1),
        centre=_lengths(described["centre"]),
        size=_lengths(described["size"]),
    )


def _lengths(described: Sequence[Any] | None) -> tuple[float, float, float] | None:
    if described is None:
        return None
    first, second, third = (float(value) for value in described)
    return first, second, third


def _evaluation(described: Mapping[str, Any]) -> Evaluation:
    group = described["group"]
    return Evaluation(
        concept=str(described["concept"]),
        concept_code=_code(described["concept_code"]),
        value=str(described["value"]),
        value_code=_code(described["value_code"]),
        group=None if group is None else str(group),
    )


def _codes(described: Sequence[Mapping[str, Any]]) -> tuple[Code, ...]:
    return tuple(Code(**{key: str(value) for key, value in one.items()}) for one in described)


def _code(described: Mapping[str, Any] | None) -> Code | None:
    return None if described is None else _codes([described])[0]


def _three(values: Sequence[Any]) -> tuple[int, int, int]:
    first, second, third = (int(value) for value in values)
    return first, second, third
