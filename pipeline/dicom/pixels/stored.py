"""Stored values of single frames: read straight from the file, or decoded."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.pixels.codecs import decode_frame
from pipeline.dicom.pixels.fragments import Spans, frames_of, read_frame
from pipeline.dicom.sources.folder import RegularFile
from pipeline.dicom.sources.source import OpenFile, Source
from pipeline.dicom.sources.stream import stream_of
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_STRAIGHT: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_LOSSY: Final = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
#: descriptors left for whatever is not a file of the series
_OTHER_FILES: Final = 128


class Slice(Protocol):
    """One frame of one instance."""

    @property
    def header(self) -> InstanceHeader:
        """The header of its instance."""
        ...

    @property
    def number(self) -> int:
        """Which frame, from 0."""
        ...


def dtype_of(header: InstanceHeader) -> np.dtype[Any]:
    """Return the type of the stored values of an instance, little endian."""
    if header.pixels.is_float:
        return np.dtype("<f4")
    kind = "i" if header.is_signed else "u"
    return np.dtype(f"<{kind}{max(8, header.bits_allocated) // 8}")


def is_compressed(header: InstanceHeader) -> bool:
    """Say whether pixels lie in fragments of code streams."""
    return bool(UID(header.transfer_syntax_uid).is_encapsulated) and not header.pixels.is_deflated


def is_straight(header: InstanceHeader) -> bool:
    """Say whether stored values lie in the file as they lie in memory."""
    is_plain = header.transfer_syntax_uid in _STRAIGHT and not header.pixels.is_deflated
    return is_plain and header.bits_allocated >= 8


class _Last(threading.local):
    """The file that a thread opened last, by process.

    A forked process opens its own and leaves its parent's alone: both would move one place in it,
    even to close it.
    """

    def __init__(self) -> None:
        self._by_process: dict[int, tuple[str, OpenFile]] = {}

    def named(self, name: str) -> OpenFile | None:
        """Return the file where it is the one of this name."""
        kept = self._by_process.get(os.getpid())
        return kept[1] if kept is not None and kept[0] == name else None

    def keep(self, name: str, file: OpenFile) -> None:
        """Keep a file, and close the one before."""
        before = self._by_process.get(os.getpid())
        self._by_process[os.getpid()] = name, file
        if before is not None:
            before[1].__exit__(None, None, None)


class Frames:
    """Reads frames of the instances of one source; several threads may read different ones."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: dict[str, OpenFile] = {}
        self._last = _Last()
        self._most_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES
        self._spans: tuple[str, list[Spans]] = ("", [])
        self._dataset: tuple[str, Dataset | None] = ("", None)

    def opened(self, name: str) -> AbstractContextManager[OpenFile]:
        """Return a context of an open file, which stays open behind it.

        Files on a disk do so until the process ends; of others, such as members of an archive,
        which inflate when they are opened, each thread keeps the last.

        Raises:
            FileRefused: it cannot be opened.

        """
        file = self._open.get(name) or self._last.named(name)
        if file is None:
            file = self._source.open(name)
            if isinstance(file, RegularFile) and len(self._open) < self._most_open:
                self._open[name] = file
            else:
                self._last.keep(name, file)
        return contextlib.nullcontext(file)

    def read(self, one: Slice, out: NDArray[Any], warnings: set[str]) -> None:
        """Fill ``out`` (rows, columns) with the stored values of a frame of one sample.

        Raises:
            StudyRejected: the file ends early, or its pixels are refused.

        """
        header = one.header
        if is_straight(header):
            self._read_straight(one, out)
            return
        decoded, _ = self.decode(one, warnings)
        if decoded.size != out.size:
            sentence = "its pixels decode to another size than its header states"
            raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE)
        # Decoders choose their own width; the stored values fit the header's.
        out[...] = decoded.reshape(out.shape).astype(out.dtype, copy=False)

    def decode(
        self, one: Slice, warnings: set[str], *, planar: int = 0
    ) -> tuple[NDArray[Any], str]:
        """Return (samples of a frame, the photometric interpretation they are in).

        Raises:
            StudyRejected: its pixels are refused.

        """
        header = one.header
        if is_compressed(header):
            with self.opened(header.path) as file:
                frame = read_frame(file, self._frame_spans(file, header)[one.number])
            decoded, photometric, found = decode_frame(frame, header, planar=planar)
            warnings.update(found)
            if header.padding is not None and header.transfer_syntax_uid in _LOSSY:
                warnings.add("lossy compression: voxels near the padding value are not masked")
            return decoded, photometric
        return self._decode_native(one)

    def dataset(self, name: str) -> Dataset:
        """Return a whole file as pydicom reads it; the last one is kept."""
        # One look: between two of them another thread may keep another file.
        kept, dataset = self._dataset
        if kept != name or dataset is None:
            # Forcing is safe here: the header reader has already found the structure sound.
            with self.opened(name) as file:
                dataset = dcmread(stream_of(file), force=True)
            self._dataset = (name, dataset)
        return dataset

    def dataset_head(self, name: str) -> Dataset:
        """Return what stands before the pixels of a file."""
        with self.opened(name) as file:
            return dcmread(stream_of(file), stop_before_pixels=True, force=True)

    def _read_straight(self, one: Slice, out: NDArray[Any]) -> None:
        """Read uncompressed little-endian pixels from their place in the file, without a copy."""
        header = one.header
        wide = np.empty(out.shape, "<f8") if header.bits_allocated == 64 else out
        view = wide.data.cast("B")
        place = header.pixels.offset + one.number * len(view)
        with self.opened(header.path) as file:
            count = file.read_into(place, view)
        if count < len(view):
            sentence = "the file ends inside its pixel data"
            raise StudyRejected(sentence, Reason.FILE_TRUNCATED)
        if wide is not out:
            out[...] = wide

    def _frame_spans(self, file: OpenFile, header: InstanceHeader) -> list[Spans]:
        kept, spans = self._spans  # one look, as in ``dataset``
        if kept != header.path:
            spans = frames_of(file, header)
            self._spans = (header.path, spans)
        return spans

    def _decode_native(self, one: Slice) -> tuple[NDArray[Any], str]:
        """Decode big endian, deflated, single-bit or subsampled pixels through pydicom."""
        header = one.header
        dataset = self.dataset(header.path)
        syntax = UID(header.transfer_syntax_uid)
        try:
            decoded, properties = get_decoder(syntax).as_array(dataset, index=one.number, raw=True)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever broken pixels make it raise
            sentence = f"its pixels cannot be decoded ({syntax.name}, {type(error).__name__})"
            raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE) from None
        return decoded, str(properties["photometric_interpretation"])
