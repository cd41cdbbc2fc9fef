"""What Nightshift says of every series of the shared example data: ``docs/verdicts.md``.

    python -m bench.verdicts ../shared/data/dicom > docs/verdicts.md

Beside each set stands what its own README says of it, for comparison.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.dicom.scan import scan
from pipeline.dicom.series.grouping import IndexedSeries
from pipeline.errors import PipelineError
from pipeline.reasons import Reason
from pipeline.volume import Volume

_HEAD: Final = """\
# Verdicts on real series

Every set of DICOM that the tests know, scanned and read with the default policies. The table is
written by `python -m bench.verdicts FOLDER`; a test holds it to the program where the sets are
present. What each set is stands above its table, in the words of its README.
"""
_COLUMNS: Final = (
    "| modality | what | kind | images | verdict | why, or what was read |\n"
    "|---|---|---|---|---|---|\n"
)
#: what the README of each set says is in it
SAID: Final = {
    "codecs_wg04_a": "One CT slice in six transfer syntaxes (lossy and lossless JPEG 2000, "
    "JPEG-LS lossless and near-lossless, JPEG lossless, RLE); NM, XA, colour fundus.",
    "cr_chest_philips": "Chest CR, MONOCHROME1, 15 bits stored, PixelSpacing (0.0, 0.0).",
    "ct_chest_lidc0314": "Chest CT of 60 contiguous 1.0 mm slices, file names not in slice order.",
    "ct_phantom_philips_mixed": "One study: a localizer, six axial 5 mm slices, six secondary "
    "captures whose modality says CT (three of them RGB dose sheets), a DICOMDIR that lists more "
    "files than are there.",
    "enhanced_multiframe": "Enhanced CT of 2 frames with a supplemental palette; Enhanced MR of "
    "10 frames in three encodings of one SOP instance.",
    "mr_brain_pgbm003": "MR of a brain: T1post, T1pre, T2, FLAIR of 22 slices each, and a "
    "hippocampus crop of 40 slices.",
    "mr_cardiac_cine": "One file of 16 frames under the single-frame MR class.",
    "odd_files_a": "Broken or unusual files: truncated, bad VR, no meta, no preamble, deflated, "
    "big endian, not images.",
    "odd_geometry_a": "CT with a tilt that its tag does not declare; a volume of 2 slices; three "
    "encodings of the same 4 MR instances; 4 RGB captures with modality MR.",
    "seg_ct_dcmqi": "CT of 3 slices and two DICOM SEG.",
    "us_mixed_a": "Ultrasound: a YBR_FULL_422 loop of 30 frames, RGB, palette, RLE.",
}


def report(folder: Path) -> str:
    """Return the document for the sets below ``folder``."""
    sets = sorted(path for path in folder.iterdir() if path.is_dir())
    return "\n".join([_HEAD, *(_of_set(path) for path in sets)])


def _of_set(folder: Path) -> str:
    with scan(folder, on_progress=_ignore) as scanned:
        counts = Counter({reason.value: count for reason, count in scanned.counts.items()})
        lines = [_row(folder, one) for study in scanned.studies() for one in study.series]
    verdicts = ", ".join(f"{count} `{reason}`" for reason, count in sorted(counts.items()))
    said = SAID.get(folder.name, "")
    return f"## {folder.name}\n\n{said}\n\nFiles: {verdicts}.\n\n{_COLUMNS}{''.join(lines)}"


def _row(folder: Path, series: IndexedSeries) -> str:
    verdict, why = series.verdict, series.detail or ""
    if verdict is Reason.OK:
        verdict, why = _read(folder, series)
    facts = series.attributes
    what = facts["series_description"] or facts["sop_class"]
    cells = (series.modality, what, series.kind, len(series.frames), f"`{verdict}`", why)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n"


def _read(folder: Path, series: IndexedSeries) -> tuple[Reason, str]:
    """Read the series; return the end of it and what came out."""
    files = SeriesFiles.of(str(folder), series)
    try:
        image = read(files, as_image=series.kind == "image")
    except PipelineError as error:
        return error.reason, error.sentence
    notes = "".join(f"; {warning}" for warning in image.warnings)
    if isinstance(image, Volume):
        size = " x ".join(map(str, image.stored.shape))
        spacing = " x ".join(f"{step:.3g}" for step in image.spacing)
        return Reason.OK, f"{size} voxels of {spacing} mm{notes}"
    return Reason.OK, f"{' x '.join(map(str, image.pixels.shape))} {image.pixels.dtype}{notes}"


def _ignore(count: int) -> None:
    """Take a count of files that nobody waits for."""


def _words() -> Iterator[Path]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds one folder per set")
    yield parser.parse_args().folder


if __name__ == "__main__":
    (folder,) = _words()
    sys.stdout.write(report(folder))
