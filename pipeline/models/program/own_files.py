"""What a configuration reads of its own bundle: arrays beside the weights, and the metadata.

``torch.load(path)`` means the arrays that registration converted from the file of that name
(``pipeline.models.arrays``), wherever the path leads; there is nothing else that it could mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Final

from safetensors import SafetensorError

from pipeline.config import reading
from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.models import arrays
from pipeline.models.bundle import METADATA

_READS_JSON: Final = re.compile(r"\$\s*json\.loads?\(.*@(\w+)\b.*\)")
_NAMES_METADATA: Final = re.compile(r"\bmetadata\.json\b")


def loading(document: Document) -> Callable[..., Mapping[str, Any]]:
    """Return what stands for ``torch.load`` in a document."""

    def load(file: object, *_: Any, **__: Any) -> Mapping[str, Any]:
        name = PurePath(str(file)).name
        if document.folder is not None:
            place = arrays.place(document.folder, name)
            if place.is_file():
                return _read(place, name)
        raise ConfigRefused(f"the bundle holds no arrays of the name {name[:100]!r}")

    return load


def metadata_ids(document: Document) -> Iterator[str]:
    """Yield the ids whose expressions read the bundle's metadata."""
    for name, item in document.items.items():
        reads = _READS_JSON.fullmatch(item) if isinstance(item, str) else None
        path = document.items.get(reads[1]) if reads else None
        if isinstance(path, str) and _NAMES_METADATA.search(path):
            yield name


def metadata(document: Document) -> Mapping[str, Any]:
    """Return the bundle's metadata for every id that reads it.

    Raises:
        ConfigRefused: they cannot be read as plain data.

    """
    ids = list(metadata_ids(document))
    if not ids or document.folder is None:
        return {}
    return dict.fromkeys(ids, reading.read(document.folder / METADATA))


def _read(place: Path, name: str) -> Mapping[str, Any]:
    try:
        return arrays.read(place)
    except SafetensorError:
        raise ConfigRefused(f"the arrays of {name[:100]!r} cannot be read") from None
