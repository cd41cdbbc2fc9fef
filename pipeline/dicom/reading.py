"""Read one series into a Volume or an Image: decoded in a child process, shared without a copy."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.answering import death_of, wait_for
from pipeline.dicom.limits import DecodeLimits
from pipeline.dicom.pixels import decoding
from pipeline.dicom.pixels.children import Child, children
from pipeline.dicom.pixels.memory import pool
from pipeline.errors import ComputeFailed, StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason
from pipeline.volume import Image, Input, Regridding, SourceHeader, SourceInstance, Volume

if TYPE_CHECKING:
    from pipeline.dicom.series.grouping import IndexedSeries

_REFUSE: Final = Policies()
_LARGEST_ANSWER: Final = 2**28
_DTYPES: Final = frozenset({"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4"})


@dataclass(frozen=True, kw_only=True)
class SeriesFiles:
    """The files of one ``IndexedSeries``, in any order."""

    #: address of the source, as ``open_source`` takes it
    source: str
    #: of the files in the source
    names: tuple[str, ...]
    study_instance_uid: str
    series_instance_uid: str
    #: which of the parts that one multi-frame instance splits into; 0 where it is one
    frame_part: int = 0
    #: as ``ScanReport.headers_of`` gave them, so that files that are the same are not parsed again
    headers: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, source: str, series: IndexedSeries) -> SeriesFiles:
        """Return the files of a series that a scan of ``source`` found."""
        return cls(
            source=source,
            names=tuple(instance.path for instance in series.instances),
            study_instance_uid=series.study_instance_uid,
            series_instance_uid=series.series_instance_uid,
            frame_part=series.frame_part,
        )


def read(
    series: SeriesFiles,
    *,
    as_image: bool = False,
    policies: Policies = _REFUSE,
    limits: DecodeLimits | None = None,
    checkpoint: Callable[[], None] | None = None,
) -> Input:
    """Read a series in a fresh child process and map its voxels.

    The voxels lie in an anonymous file that lives as long as the array: nothing is left behind
    when a process is killed. Safe to call from several threads.

    Args:
        series: what to read.
        as_image: one instance as an ``Image`` instead of a stack as a ``Volume``.
        policies: what to do with a series that is not plainly sound.
        limits: what the child may take; beyond it the read is refused or failed.
        checkpoint: called about ten times a second; what it raises ends the child.

    Raises:
        StudyRejected: the series is refused; the reason code says why.
        ComputeFailed: a file could not be opened, the child was killed or ran out of time.

    """
    limits = limits or DecodeLimits()
    order = decoding.Order(
        source=series.source,
        names=series.names,
        frame_part=series.frame_part,
        headers=series.headers,
        study_instance_uid=series.study_instance_uid,
        series_instance_uid=series.series_instance_uid,
        as_image=as_image,
        policies=policies,
        limits=limits,
    )
    child = children.take()
    try:
        answer = _ask(child, order, checkpoint)
        voxels = child.memory.array(*_layout(answer), pool)
        return _image(answer, voxels) if as_image else _volume(answer, voxels)
    except (KeyError, TypeError, ValueError):
        # Only a child that a hostile file has taken over answers like this.
        raise StudyRejected("the decoder answered nonsense", Reason.PIXELS_DECODER_DIED) from None
    finally:
        # Last: the next child is made ready beside the caller's work, not beside this.
        children.prepare(child)


def _ask(
    child: Child, order: decoding.Order, checkpoint: Callable[[], None] | None
) -> dict[str, Any]:
    """Give a child the order and wait for its answer within the limits."""
    try:
        answer = _converse(child, order, checkpoint)
        _raise_refusal(answer)
    except BaseException:  # raised again: interrupted or not, nobody may be given this child again
        child.end()
        pool.give_back(child.memory)
        raise
    return answer


def _converse(
    child: Child, order: decoding.Order, checkpoint: Callable[[], None] | None
) -> dict[str, Any]:
    try:
        child.connection.send(order)
        wait_for(child.connection, seconds=order.limits.seconds, checkpoint=checkpoint)
        answer: dict[str, Any] = json.loads(child.connection.recv_bytes(_LARGEST_ANSWER))
    except (EOFError, OSError):
        raise death_of(child.process, checkpoint) from None
    except ValueError:
        raise StudyRejected("the decoder answered nonsense", Reason.PIXELS_DECODER_DIED) from None
    return answer


def _raise_refusal(answer: dict[str, Any]) -> None:
    if "rejected" in answer:
        raise StudyRejected(str(answer["sentence"]), Reason(answer["rejected"]))
    if "failed" in answer:
        raise ComputeFailed(str(answer["sentence"]), Reason(answer["failed"]))


def _layout(answer: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if answer["dtype"] not in _DTYPES:
        raise ValueError(answer["dtype"])
    return tuple(int(n) for n in answer["shape"]), np.dtype(answer["dtype"])


def _volume(answer: dict[str, Any], voxels: NDArray[Any]) -> Volume:
    return Volume(
        stored=voxels,
        affine=np.array(answer["affine"], np.float64),
        slope=float(answer["slope"]),
        intercept=float(answer["intercept"]),
        unit=str(answer["unit"]),
        header=_source(answer),
        warnings=tuple(answer["warnings"]),
        regridding=_regridding(answer["regridding"]),
    )


def _image(answer: dict[str, Any], voxels: NDArray[Any]) -> Image:
    spacing = answer["spacing"]
    return Image(
        pixels=voxels,
        unit=str(answer["unit"]),
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        header=_source(answer),
        warnings=tuple(answer["warnings"]),
    )


def _regridding(answer: dict[str, Any] | None) -> Regridding | None:
    if answer is None:
        return None
    slices, rows, columns = (int(n) for n in answer["shape"])
    return Regridding(
        shape=(slices, rows, columns),
        slices=tuple(int(place) for place in answer["slices"]),
        shifts=tuple((float(down), float(right)) for down, right in answer["shifts"]),
    )


def _source(answer: dict[str, Any]) -> SourceHeader:
    instances = tuple(
        SourceInstance(**{**i, "position": i["position"] and tuple(i["position"])})
        for i in answer["instances"]
    )
    return SourceHeader(
        template=base64.b64decode(answer["template"]),
        instances=instances,
        study_instance_uid=answer["study_instance_uid"],
        series_instance_uid=answer["series_instance_uid"],
        frame_of_reference_uid=answer["frame_of_reference_uid"],
        modality=answer["modality"],
        orientation=_numbers(answer["orientation"]),
        pixel_spacing=_numbers(answer["pixel_spacing"]),
        is_spacing_of_detector=bool(answer["is_spacing_of_detector"]),
    )


def _numbers(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)
