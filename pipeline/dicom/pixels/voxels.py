"""Frames of checked instances into one array: stored numbers or values, padding masked."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.pixels.colour import check_colour, to_rgb
from pipeline.dicom.pixels.padding import clean, is_padding, padding_of, stored_range
from pipeline.dicom.pixels.palette import palette_of
from pipeline.dicom.pixels.scaling import Layout, Scale
from pipeline.dicom.pixels.stored import Frames, Slice, dtype_of, is_compressed
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

#: Does ``work(0)`` to ``work(count - 1)``, here or in parallel, and returns the answers in order.
Share: TypeAlias = Callable[[int, Callable[[int], dict[str, Any]]], list[dict[str, Any]]]

#: compressed pixels below which forked workers cost more than they save
_WORTH_SHARING: Final = 2**21
_THREADS: Final = 2
#: for which a thread keeps Python's lock while others want it: as long as a copy of a slice takes
_SWITCH_SECONDS: Final = 1e-4


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Grey:
    """Slices of one sample, and what becomes of them in ``out`` (slices, rows, columns)."""

    reader: Frames
    slices: Sequence[Slice]
    scale: Scale
    layout: Layout
    out: NDArray[Any]
    #: of MONOCHROME1 values that are to be turned over: what a value and its opposite add up to
    ends: float | None = None

    def fill(self, share: Share, beside: Callable[[], object] = _nothing) -> list[str]:
        """Write every voxel of ``out``; return warnings.

        Padding is set to the least value of what is not padding, so that neither statistics nor
        models see it.

        Args:
            share: does what is worth sharing among processes.
            beside: other work of this read, done while the kernel copies.

        Raises:
            StudyRejected: pixels that are refused.

        """
        answers = _do(share, self._slice, self.slices, beside)
        warnings = {warning for answer in answers for warning in answer["warnings"]}
        if any(answer["padded"] for answer in answers):
            warnings.add(self._mask(answers))
        return sorted(warnings)

    def _slice(self, index: int) -> dict[str, Any]:
        """Read one slice; padding keeps its stored number, or becomes NaN among values."""
        one, warnings = self.slices[index], set[str]()
        header, out = one.header, self.out[index]
        stored = out if self.layout.is_stored else np.empty(out.shape, dtype_of(header))
        self.reader.read(one, stored, warnings)
        cleaned = clean(stored, header, warnings)
        least = cleaned.least if self.layout.slope > 0 else cleaned.greatest
        if not self.layout.is_stored:
            least = self._values(index, stored, padded=cleaned.padded)
        return {"warnings": sorted(warnings), "padded": cleaned.padded, "least": least}

    def _values(self, index: int, stored: NDArray[Any], *, padded: int) -> float | None:
        """Write the values of one slice; return the least where padding may need it."""
        out, table = self.out[index], self.scale.tables[index]
        if table is not None:
            out[...] = table.apply(stored)
        else:
            np.multiply(stored, self.scale.slopes[index], out=out, casting="unsafe")
            out += np.float32(self.scale.intercepts[index])
        if self.ends is not None:
            # Before padding is masked: its value is the least of what the image shows.
            np.subtract(np.float32(self.ends), out, out=out)
        padding = padding_of(self.slices[index].header)
        if padding is None or padded == out.size:
            out[...] = np.nan if padded else out
            return None if padded else float(out.min())
        if padded:
            out[is_padding(stored, padding)] = np.nan
        return float(np.nanmin(out))

    def _mask(self, answers: Sequence[dict[str, Any]]) -> str:
        padded = sum(answer["padded"] for answer in answers)
        found = [
            least for i, one in enumerate(answers) if (least := self._least(i, one)) is not None
        ]
        if not found:
            self.out[...] = 0
            return "every voxel holds the padding value; there is no image"
        least = min(found) if self.layout.slope > 0 else max(found)
        for index, answer in enumerate(answers):
            if answer["padded"]:
                out = self.out[index]
                out[self._padding(index)] = least
        return f"{padded} voxels are padding, no part of the image; they are set to its least value"

    def _least(self, index: int, answer: dict[str, Any]) -> float | None:
        """Return the least value of a slice that is not padding, None where all is."""
        least: float | None = answer["least"]
        if least is None and not answer["padded"]:
            out = self.out[index]
            least = (out.min() if self.layout.slope > 0 else out.max()).item()
        return least

    def _padding(self, index: int) -> NDArray[np.bool_]:
        if not self.layout.is_stored:
            nan: NDArray[np.bool_] = np.isnan(self.out[index])
            return nan
        padding = padding_of(self.slices[index].header)
        assert padding is not None  # noqa: S101 - clean found voxels of it
        return is_padding(self.out[index], padding)


def ends_of(header: InstanceHeader, scale: Scale) -> float:
    """Return the sum of the ends of a range of values, which turns these over within it."""
    table = scale.tables[0]
    if table is not None:
        return float(table.values.min()) + float(table.values.max())
    if header.pixels.is_float:
        return 0.0
    return sum(stored_range(header)) * scale.slopes[0] + 2 * scale.intercepts[0]


def fill_colour(
    reader: Frames, frames: Sequence[Slice], out: NDArray[np.uint8], share: Share
) -> list[str]:
    """Write frames of one instance as RGB into ``out`` (frames, rows, columns, 3); warn.

    Raises:
        StudyRejected: colours, palette or pixels that are refused.

    """
    header = frames[0].header
    check_colour(header)
    work = _palette_work if header.photometric == "PALETTE COLOR" else _rgb_work
    answers = _do(share, work(reader, frames, out), frames)
    return sorted({warning for answer in answers for warning in answer["warnings"]})


def _palette_work(
    reader: Frames, frames: Sequence[Slice], out: NDArray[np.uint8]
) -> Callable[[int], dict[str, Any]]:
    header = dataclasses.replace(frames[0].header, padding=None)
    palette = palette_of(reader.dataset_head(header.path), is_signed=header.is_signed)

    def work(index: int) -> dict[str, Any]:
        warnings = set[str]()
        stored = np.empty(out.shape[1:3], dtype_of(header))
        reader.read(frames[index], stored, warnings)
        clean(stored, header, warnings)
        out[index] = palette.apply(stored)
        return {"warnings": sorted(warnings)}

    return work


def _rgb_work(
    reader: Frames, frames: Sequence[Slice], out: NDArray[np.uint8]
) -> Callable[[int], dict[str, Any]]:
    def work(index: int) -> dict[str, Any]:
        one, warnings = frames[index], set[str]()
        planar = one.header.planar_configuration or 0
        decoded, photometric = reader.decode(one, warnings, planar=planar)
        if decoded.shape != out.shape[1:] or decoded.dtype.kind != "u":
            sentence = "its pixels decode to another size than its header states"
            raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE)
        out[index] = to_rgb(decoded, photometric, one.header, warnings)
        return {"warnings": sorted(warnings)}

    return work


def _do(
    share: Share,
    work: Callable[[int], dict[str, Any]],
    frames: Sequence[Slice],
    beside: Callable[[], object] = _nothing,
) -> list[dict[str, Any]]:
    """Share what is large: decoding among processes, mere reading among threads."""
    count = sum(one.header.rows * one.header.columns for one in frames)
    if count < _WORTH_SHARING or is_compressed(frames[0].header):
        beside()
        is_small = count < _WORTH_SHARING
        return [work(i) for i in range(len(frames))] if is_small else share(len(frames), work)
    # The kernel copies, and numpy looks, without holding Python's lock; whoever is back from
    # there is not to wait for it for long.
    sys.setswitchinterval(_SWITCH_SECONDS)
    turns = [range(first, len(frames), _THREADS) for first in range(_THREADS)]
    answers: list[dict[str, Any]] = [{}] * len(frames)
    with ThreadPoolExecutor(_THREADS) as threads:
        done = threads.map(lambda turn: [work(index) for index in turn], turns)
        beside()
        for turn, some in zip(turns, done, strict=True):
            answers[turn.start :: _THREADS] = some
    return answers
