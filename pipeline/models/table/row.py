"""One row: where a network is defined, what it answers with, and what a bundle may say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pipeline.config.tables.entry import Entry
from pipeline.models.spec import Kind

#: every bundle states it, whether or not the class itself is told
SPATIAL_DIMS: Final = "spatial_dims"

#: a value for each voxel
MAPS: Final = frozenset({Kind.SEGMENTATION, Kind.RESTORATION})
SEGMENTS: Final = frozenset({Kind.SEGMENTATION})
IMAGES: Final = frozenset({Kind.RESTORATION})
#: a value for each label
CLASSES: Final = frozenset({Kind.CLASSIFICATION})
BOXES: Final = frozenset({Kind.DETECTION})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network."""

    #: what builds it: its module is imported by our own spelling, never by a bundle's. Its
    #: ``fixed`` arguments a bundle cannot give: whatever would fetch weights stays off
    entry: Entry
    #: the kinds of model that it can answer for
    kinds: frozenset[Kind]
    #: arguments a bundle may give, besides ``spatial_dims`` and the two below
    parameters: frozenset[str]
    in_channels: str = "in_channels"
    #: the argument that holds the number of output channels, or of classes
    outputs: str = "out_channels"
    #: the numbers of axes that it can be built for
    axes: tuple[int, ...] = (2, 3)
    #: whether the class takes ``spatial_dims``; one of fixed axes may not
    takes_axes: bool = True
    #: which of several answers counts, None where there is one
    answer: int | str | None = None
    #: what ``scale`` is where a bundle gives none; None = the answer has the input's size
    scale: int | None = None
    #: whether it finds objects one by one, each with its mask: a bundle says ``instances`` then
    finds_objects: bool = False
    #: whether it takes ``present``, which of its channels are there, bool (batch, channels)
    takes_missing: bool = False
    #: the argument that holds how many values of a table it takes beside images: ``values``, float
    #: (batch, values), and ``known``, bool of the same shape. None = it takes none
    table: str | None = None
    #: whether the class can be built without memory; some compute with tensors while building
    is_lazy: bool = True

    @property
    def allowed(self) -> frozenset[str]:
        """Every argument name a bundle may give."""
        return self.parameters | {SPATIAL_DIMS, self.in_channels, self.outputs}


def row(entry: Entry, kinds: frozenset[Kind], parameters: str, **others: Any) -> Row:
    """Return a row whose parameters are written in one text, separated by spaces."""
    return Row(entry=entry, kinds=kinds, parameters=frozenset(parameters.split()), **others)
