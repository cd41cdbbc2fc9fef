"""Pictures for the page: sprites from the store, embedded until the page would grow too large."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from api.reporting.files import is_safe_name
from api.reporting.rows import JobRow
from api.reporting.studies import blob_of, folder_of
from records.listing import ArtifactRow

_MEDIA_TYPES: Final = frozenset({"image/webp", "image/png", "image/jpeg"})


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One slice of a sprite."""

    slice_number: int
    segments: tuple[str, ...]
    boxes: int

    @property
    def has_findings(self) -> bool:
        """Whether something was found here."""
        return bool(self.segments or self.boxes)


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """A colour and what it stands for."""

    label: str
    color: str
    is_box: bool


@dataclass(frozen=True, kw_only=True)
class Sprite:
    """Tiles of one step in one picture."""

    title: str
    #: a data URI, or a path relative to the page
    href: str
    width: int
    height: int
    columns: int
    slice_count: int
    plane: str
    edges: tuple[str, str, str, str]
    window: str
    legend: tuple[LegendEntry, ...]
    tiles: tuple[Tile, ...]

    @property
    def rows(self) -> int:
        """Rows of tiles in the picture."""
        return -(-len(self.tiles) // self.columns)

    @property
    def first(self) -> int:
        """The tile to show first: the middle one of those with findings, else of all."""
        found = [place for place, tile in enumerate(self.tiles) if tile.has_findings]
        places = found or range(len(self.tiles))
        return places[len(places) // 2]


class Album:
    """Hands out the sprites of jobs until its budget of embedded bytes is used."""

    def __init__(self, store: Path, budget: int) -> None:
        """Read from ``store``; embed ``budget`` bytes at most."""
        self._store = store
        self.left = budget
        self.linked = 0

    def sprites(self, job: JobRow) -> list[Sprite]:
        """Return the sprites of a job; an index that cannot be read is left out."""
        by_name = {artifact.name: artifact for artifact in job.artifacts}
        found = []
        for artifact in job.artifacts:
            if artifact.kind != "overlay" or artifact.media_type != "application/json":
                continue
            index = self._index(artifact)
            picture = by_name.get(str(index.get("sprite")))
            if picture is None or picture.media_type not in _MEDIA_TYPES:
                continue
            sprite = _parse(index, self._href(job, picture), _title(artifact.name))
            if sprite is not None:
                found.append(sprite)
        return found

    def _index(self, artifact: ArtifactRow) -> dict[str, Any]:
        try:
            index = json.loads(blob_of(self._store, artifact).read_bytes())
        except (OSError, ValueError):
            return {}
        return index if isinstance(index, dict) else {}

    def _href(self, job: JobRow, picture: ArtifactRow) -> str:
        if picture.size <= self.left:
            try:
                data = blob_of(self._store, picture).read_bytes()
            except OSError:
                return ""
            self.left -= len(data)
            return f"data:{picture.media_type};base64,{base64.b64encode(data).decode()}"
        self.linked += 1
        return f"{folder_of(job)}/{picture.name}" if is_safe_name(picture.name) else ""


def _title(name: str) -> str:
    return name.removeprefix("overlay-").removesuffix(".json")


def _parse(index: dict[str, Any], href: str, title: str) -> Sprite | None:
    """Return the sprite an index describes, None where it does not hold together."""
    try:
        width, height = (int(n) for n in index["tile"])
        left, right, top, bottom = (str(letter)[:1] for letter in index["edges"])
        sprite = Sprite(
            title=title,
            href=href,
            width=width,
            height=height,
            columns=int(index["columns"]),
            slice_count=int(index["slice_count"]),
            plane=str(index["plane"]),
            edges=(left, right, top, bottom),
            window=str(index["window"]),
            legend=tuple(
                LegendEntry(
                    label=str(entry["label"]),
                    color="#" + bytes(int(n) for n in entry["color"]).hex(),
                    is_box=entry["kind"] == "box",
                )
                for entry in index["legend"]
            ),
            tiles=tuple(
                Tile(
                    slice_number=int(tile["slice"]),
                    segments=tuple(str(label) for label in tile["segments"]),
                    boxes=int(tile["boxes"]),
                )
                for tile in index["tiles"]
            ),
        )
    except (KeyError, TypeError, ValueError):
        return None
    is_sound = href and sprite.tiles and min(width, height, sprite.columns) > 0
    return sprite if is_sound else None
