"""The sample export of `make run`: real files that ship with pydicom, beside phantom studies.

Nothing is fetched. The real files are the ones in pydicom's wheel: CT, MR, ultrasound stills and
cine, nuclear medicine, many transfer syntaxes, a DICOMDIR medium, and deliberately broken ones.
The phantoms are of known content: volumes, since the wheel holds no whole CT, MR or PET series,
and modalities of which it holds nothing: mammograms, endoscopy, photographs, slides.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from pipeline import phantoms
from pipeline.phantoms.chest import DEFAULT as CHEST
from pipeline.phantoms.head import DEFAULT as HEAD
from pipeline.phantoms.pet import DEFAULT as TORSO

CHESTS = 3
HEADS = 2


def make(folder: Path) -> None:
    """Write the sample export into ``folder``, all of it or nothing."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with as_file(files("pydicom") / "data" / "test_files") as shipped:
        shutil.copytree(
            shipped, partial / "pydicom", ignore=shutil.ignore_patterns("*.py", "*.pyc")
        )
    _write_phantoms(partial / "phantoms")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _write_phantoms(folder: Path) -> None:
    """Write chests and heads with and without lesions; seeds far from those of the trainings."""
    for number in range(CHESTS):
        seed = 9000 + number
        parameters = replace(CHEST, seed=seed, lesions=number)
        phantoms.write_series(phantoms.chest(parameters), folder / f"ct-{number}", seed=seed)
    for number in range(HEADS):
        seed = 9100 + number
        parameters = replace(HEAD, seed=seed, lesions=2 * number)
        phantoms.write_series(phantoms.head(parameters), folder / f"mr-{number}", seed=seed)
    for number, kind in enumerate(phantoms.ImageKind):
        seed = 9200 + number
        picture = phantoms.image(phantoms.ImageParameters(kind=kind, seed=seed))
        phantoms.write_image(picture, folder / f"image-{kind.value}", seed=seed)
    for number, look in enumerate(phantoms.PhotoKind):
        seed = 9300 + number
        colours = phantoms.photo(phantoms.PhotoParameters(kind=look, seed=seed))
        phantoms.write_photo(colours, folder / f"photo-{look.value}", seed=seed)
    torso = phantoms.torso(replace(TORSO, seed=9400))
    phantoms.write_series(torso, folder / "pt-0", seed=9400)
    mammogram = phantoms.breast(phantoms.BreastParameters(seed=9401))
    phantoms.write_breast(mammogram, folder / "image-MG", seed=9401)
    slide = phantoms.slide(phantoms.SlideParameters(seed=9402))
    phantoms.write_slide(slide, folder / "slide-SM", seed=9402)
    bowel = phantoms.PhotoParameters(kind=phantoms.PhotoKind.BOWEL, seed=9403)
    video = phantoms.loop(bowel, shows=[False] * 4 + [True] * 8)
    phantoms.write_photo(video, folder / "video-ES", seed=9403)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
