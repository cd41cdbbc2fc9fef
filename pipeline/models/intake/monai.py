"""MONAI's own keys of ``configs/metadata.json``, as docs.monai.io describes them, checked.

MONAI keeps its schema outside of the bundle and fetches it; here it is a class. Its tools evaluate
some strings of the metadata; here every string is a string, and one that asks to be run is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from pipeline.config import ids

_Text = Annotated[str, Field(max_length=20_000)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
#: an extent of a shape: a number, "*", "16*n", "2**p", "n"
_EXTENT: Final = r"^(\*|[1-9][0-9]{0,5}|[np]|[1-9][0-9]{0,3}\*{1,2}[np])$"
_Extent = Annotated[StrictInt, Field(ge=1, le=1_000_000)] | Annotated[str, Field(pattern=_EXTENT)]
_VERSION: Final = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$"


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Port(_Open):
    """One input or output of the network."""

    type: _Name
    format: _Text = ""
    modality: _Text | None = None
    num_channels: Annotated[StrictInt, Field(ge=0, le=4096)]
    spatial_shape: tuple[_Extent, ...] = Field(max_length=4)
    dtype: _Text | None = None
    value_range: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = ()
    is_patch_data: bool = False
    channel_def: dict[Annotated[str, Field(pattern=r"^[0-9]{1,4}$")], _Name] | None = None
    #: some bundles call it so where the answer holds label values instead of channels
    label_def: dict[Annotated[str, Field(pattern=r"^[0-9]{1,4}$")], _Name] | None = None

    @property
    def channel_names(self) -> list[str]:
        """The names of channels or labels in the order of their numbers."""
        stated = self.channel_def or self.label_def or {}
        return [stated[number].strip() for number in sorted(stated, key=int)]


class DataFormat(_Open):
    """What goes into the network and what comes out, by name."""

    inputs: dict[_Name, Port] = Field(min_length=1, max_length=16)
    outputs: dict[_Name, Port] = Field(min_length=1, max_length=16)


class MonaiMetadata(_Open):
    """The keys that are read or that a reader of the card relies on."""

    version: str = Field(pattern=_VERSION)
    name: _Name | None = None
    task: _Text | None = None
    description: _Text | None = None
    authors: _Text | list[_Text] | None = None
    copyright: _Text | None = None
    intended_use: _Text | None = None
    monai_version: _Text | None = None
    pytorch_version: _Text | None = None
    numpy_version: _Text | None = None
    changelog: dict[str, Any] = Field(default_factory=dict)
    eval_metrics: dict[str, Any] = Field(default_factory=dict)
    #: a bundle that states its block ``nightshift`` may leave it out
    network_data_format: DataFormat | None = None


def parse(document: Mapping[str, Any]) -> tuple[MonaiMetadata | None, list[str]]:
    """Check metadata that was read as plain data.

    Returns:
        The metadata and no faults, or None and every fault found, each a sentence.

    """
    found = [
        f"metadata.json: {where} begins with {value[0]!r}: metadata is data, nothing in it is run"
        for where, value in _texts(document, "")
        if ids.is_expression(value) or ids.is_macro(value) or ids.is_reference(value)
    ]
    try:
        metadata = MonaiMetadata.model_validate(document)
    except ValidationError as invalid:
        return None, found + _sentences(invalid)
    return (None, found) if found else (metadata, [])


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield every text of nested containers with the id of its place."""
    waiting = [(where, value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, str):
            if item:
                yield place, item
        else:
            waiting.extend((ids.join(place, key), child) for key, child in ids.children(item))


def _sentences(invalid: ValidationError) -> list[str]:
    # a field of several types states a fault for each of them: one is enough
    first = {
        ".".join(str(part) for part in fault["loc"] if not _is_type(part)): fault["msg"]
        for fault in reversed(invalid.errors(include_url=False, include_input=False))
    }
    return [f"metadata.json: {place}: {message}" for place, message in reversed(first.items())]


def _is_type(part: int | str) -> bool:
    """Whether pydantic put the name of a type there, e.g. ``constrained-int``."""
    return isinstance(part, str) and ("[" in part or part.startswith("constrained-"))
