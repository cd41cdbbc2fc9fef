"""One line of a manifest that is being made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.errors import TrainingRefused
from pipeline.training.manifest import IMAGE_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Line:
    """A case. What it lacks is left empty, for the check of the manifest to find."""

    image: Path | None
    #: a class, or the file of the label
    label: str | Path
    #: "" where the set does not say
    patient_id: str = ""
    split: str = ""


class LayoutRefused(TrainingRefused):
    """The folder is not stored in this way."""


_STEM: Final = tuple(sorted(IMAGE_SUFFIXES, key=len, reverse=True))


def images_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """Return the images of a folder, or of all below it, in the order of their names."""
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.is_file() and is_image(path))


def is_image(path: Path) -> bool:
    """Say whether a file has the name of an image."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def stem(path: Path) -> str:
    """Return the name of an image without what says its form."""
    suffix = next((one for one in _STEM if path.name.lower().endswith(one)), path.suffix)
    return path.name[: -len(suffix)] if suffix else path.name


def subfolder(folder: Path, *names: str) -> Path:
    """Return the first of several folders that is there.

    Raises:
        LayoutRefused: none is.

    """
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise LayoutRefused(f"there is no folder {' or '.join(names)}")
