"""dciodvfy (dicom3tools): a validator of information objects that is not ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dicom3tools is not installed"
)


def remarks(data: bytes, folder: Path) -> list[str]:
    """Return what dciodvfy says of a DICOM file: the name of its IOD, then errors and warnings."""
    file = folder / "object.dcm"
    file.write_bytes(data)
    said = subprocess.run(
        ["dciodvfy", "-new", str(file)],  # noqa: S607 - from the PATH, as any validator
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stderr.strip().splitlines()


def errors(data: bytes, folder: Path) -> list[str]:
    """Return the errors alone, and that no IOD was recognised."""
    lines = remarks(data, folder)
    return [line for line in lines if line.startswith("Error")] or ([] if lines else ["nothing"])
