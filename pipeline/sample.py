"""The sample export of `make run`: real files that ship with pydicom, beside phantom studies.

Nothing is fetched. The real files are the ones in pydicom's wheel: CT, MR, ultrasound stills and
cine, nuclear medicine, many transfer syntaxes, a DICOMDIR medium, and deliberately broken ones.
The phantoms are volumes of known content, since the wheel holds no whole CT or MR series.
"""

from __future__ import annotations

import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path

from pipeline import phantoms


def make(folder: Path) -> None:
    """Write the sample export into ``folder``, all of it or nothing."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with as_file(files("pydicom") / "data" / "test_files") as shipped:
        shutil.copytree(shipped, partial / "pydicom", ignore=shutil.ignore_patterns("*.py", "*.pyc"))
    phantoms.write_sample(partial / "phantoms")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
