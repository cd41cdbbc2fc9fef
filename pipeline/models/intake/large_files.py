"""``large_files.yml``: what a bundle keeps elsewhere, with digests. Nothing is fetched."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.config import reading
from pipeline.config.refusal import ConfigRefused

NAMES: Final = ("large_files.yml", "large_files.yaml", "large_files.json")
_KNOWN: Final = ("sha256", "sha1", "md5")


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str = Field(min_length=1, max_length=1000)
    hash_val: str | None = Field(default=None, max_length=200)
    hash_type: str | None = Field(default=None, max_length=40)


class _List(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    large_files: tuple[_File, ...] = Field(default=(), max_length=1000)


class LargeFiles:
    """The list of a bundle; empty where there is none."""

    def __init__(self, files: tuple[_File, ...] = ()) -> None:
        self._files = {file.path.removeprefix("./"): file for file in files}

    def __contains__(self, name: str) -> bool:
        """Whether the list names a file."""
        return name in self._files

    def faults(self, name: str, digests: Mapping[str, str]) -> list[str]:
        """Compare a file with what the list states of it.

        Args:
            name: of the file in the bundle.
            digests: hexadecimal, by the name of the algorithm.

        """
        file = self._files.get(name)
        if file is None or not file.hash_val or not file.hash_type:
            return []
        kind = file.hash_type.lower()
        if kind not in _KNOWN:
            return [f"large_files states a digest of kind {kind!r} for {name}, which is not known"]
        # bytes: text that is not ASCII cannot be compared so
        if hmac.compare_digest(file.hash_val.strip().lower().encode(), digests[kind].encode()):
            return []
        return [f"{name} has another {kind} than large_files states: download it again"]


def read(folder: Path) -> tuple[LargeFiles, list[str]]:
    """Read the list of a bundle whose texts lie in ``folder``, and say what is wrong with it."""
    name = next((name for name in NAMES if (folder / name).is_file()), None)
    if name is None:
        return LargeFiles(), []
    try:
        listed = _List.model_validate(reading.read(folder / name))
    except ConfigRefused as refused:
        return LargeFiles(), refused.faults
    except ValidationError as invalid:
        (first, *_) = invalid.errors(include_url=False, include_input=False)
        where = ".".join(map(str, first["loc"]))
        return LargeFiles(), [f"{name}: {where}: {first['msg']}"]
    return LargeFiles(listed.large_files), []
