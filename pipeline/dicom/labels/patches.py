"""Flat pieces of a region, gathered on the grid until all are known, then made one region."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.labels.grid import Grid
from pipeline.dicom.labels.label_read import Region
from pipeline.dicom.labels.refusal import invalid
from pipeline.results import Code

Corner = tuple[int, int, int]


@dataclass(kw_only=True)
class Patches:
    """The pieces of one region. Each is a bool block (slices, rows, columns) at a place."""

    name: str
    codes: tuple[Code, ...] = ()
    number: int | None = None
    blocks: list[tuple[Corner, NDArray[np.bool_]]] = field(default_factory=list)

    def add(self, start: Corner, block: NDArray[np.bool_]) -> None:
        """Keep what is set of a block that lies on the grid."""
        extents = [np.flatnonzero(block.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
        if not all(extent.size for extent in extents):
            return
        kept = tuple(slice(int(extent[0]), int(extent[-1]) + 1) for extent in extents)
        place = tuple(first + cut.start for first, cut in zip(start, kept, strict=True))
        self.blocks.append(((place[0], place[1], place[2]), block[kept].copy()))

    def region(self, grid: Grid, room: Room) -> Region:
        """Return the union of all pieces, slices that were interpolated filled."""
        start, voxels = self.union(room)
        region = Region(
            name=self.name, codes=self.codes, number=self.number, start=start, voxels=voxels
        )
        return grid.filled(region)

    def union(self, room: Room) -> tuple[Corner, NDArray[np.bool_]]:
        """Return (first voxel, bool block) of all pieces together."""
        if not self.blocks:
            return (0, 0, 0), np.zeros((0, 0, 0), np.bool_)
        starts = np.array([start for start, _ in self.blocks])
        ends = starts + np.array([block.shape for _, block in self.blocks])
        low, high = starts.min(axis=0), ends.max(axis=0)
        room.take(int(np.prod(high - low)))
        voxels = np.zeros(tuple(high - low), np.bool_)
        for start, block in self.blocks:
            place = tuple(
                slice(int(first - least), int(first - least) + count)
                for first, least, count in zip(start, low, block.shape, strict=True)
            )
            voxels[place] |= block
        return (int(low[0]), int(low[1]), int(low[2])), voxels


@dataclass(kw_only=True)
class Room:
    """Bytes that all regions of one read together may still take."""

    left: int

    def take(self, count: int) -> None:
        """Take some.

        Raises:
            StudyRejected: there are not as many.

        """
        self.left -= count
        if self.left < 0:
            raise invalid("its regions together take more room than is allowed")
