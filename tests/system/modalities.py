"""One export with a study of every modality: real files where there are some, else phantoms."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    DermoscopicPhotographyImageStorage,
    DigitalXRayImageStorageForPresentation,
)

from pipeline import phantoms
from pipeline.phantoms import (
    BreastParameters,
    ImageKind,
    ImageParameters,
    PhantomParameters,
    PhotoKind,
    PhotoParameters,
    SlideParameters,
)
from pipeline.phantoms.head import DEFAULT as HEAD
from pipeline.phantoms.pet import DEFAULT as TORSO
from tests.data import beside

CHEST: Final = PhantomParameters(
    shape=(24, 64, 64), spacing=(5.0, 5.2, 4.8), seed=9401, lesions=2, radius=(9.0, 12.0)
)
#: which frames of the endoscopic video show the polyp
SHOWS: Final = (False, False, False, True, True, True, True, True)
CINE_FRAMES: Final = 5
#: at most so many of a real series
_SLICES: Final = 24


@dataclass(frozen=True, kw_only=True)
class Study:
    """What became of one folder of the export."""

    folder: Path
    study_instance_uid: str

    def headers(self) -> list[pydicom.Dataset]:
        """Return every instance of it."""
        return [pydicom.dcmread(path) for path in _files(self.folder)]


def write_all(export: Path) -> dict[str, Study]:
    """Write every study whose files are at hand, each into a folder of its own name."""
    studies = {}
    for name, write in (*_PHANTOMS.items(), *_real().items()):
        folder = export / name
        folder.mkdir(parents=True)
        write(folder)
        first = next(path for path in _files(folder))
        header = pydicom.dcmread(first, stop_before_pixels=True)
        studies[name] = Study(folder=folder, study_instance_uid=str(header.StudyInstanceUID))
    return studies


def pet() -> phantoms.Phantom:
    """Return the torso of the export."""
    return phantoms.torso(replace(TORSO, seed=9403))


def breast() -> phantoms.BreastPhantom:
    """Return the mammogram of the export."""
    return phantoms.breast(BreastParameters(seed=9404))


def slide() -> phantoms.SlidePhantom:
    """Return the slide of the export."""
    return phantoms.slide(SlideParameters(seed=9405))


def cine() -> phantoms.ImagePhantom:
    """Return the ultrasound loop of the export."""
    return phantoms.image(ImageParameters(kind=ImageKind.US, seed=9406, frames=CINE_FRAMES))


def chest() -> phantoms.Phantom:
    """Return the chest of the export."""
    return phantoms.chest(CHEST)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _image(kind: ImageKind, seed: int) -> Callable[[Path], object]:
    return lambda folder: phantoms.write_image(
        phantoms.image(ImageParameters(kind=kind, seed=seed)), folder, seed=seed
    )


def _photo(kind: PhotoKind, seed: int, **changes: Any) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        picture = phantoms.photo(PhotoParameters(kind=kind, seed=seed))
        phantoms.write_photo(picture, folder, seed=seed)
        _change(folder, **changes)

    return write


def _change(folder: Path, **changes: Any) -> None:
    """State other values in the one file of a folder."""
    if not changes:
        return
    (path,) = folder.iterdir()
    dataset = pydicom.dcmread(path)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.save_as(path)


def _radiograph(folder: Path) -> None:
    _image(ImageKind.CR, 9407)(folder)
    _change(folder, Modality="DX", SOPClassUID=DigitalXRayImageStorageForPresentation)


def _endoscopy(folder: Path) -> None:
    made = phantoms.loop(PhotoParameters(kind=PhotoKind.BOWEL, seed=9408), shows=SHOWS)
    phantoms.write_photo(made, folder, seed=9408)


def _mpeg(folder: Path) -> None:
    """Write the header of a video whose stream no decoder of ours reads."""
    made = phantoms.loop(PhotoParameters(kind=PhotoKind.BOWEL, seed=9409), shows=SHOWS[:2])
    (path,) = phantoms.write_photo(made, folder, seed=9409).paths
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = MPEG4HP41
    dataset.PhotometricInterpretation = "YBR_PARTIAL_420"
    dataset.PixelData = encapsulate([b"\0\0\0\x18ftypmp42" * 8])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


_PHANTOMS: Final[Mapping[str, Callable[[Path], object]]] = {
    "ct": lambda folder: phantoms.write_series(chest(), folder, seed=9401),
    "mr": lambda folder: phantoms.write_series(
        phantoms.head(replace(HEAD, seed=9402, lesions=3)), folder, seed=9402
    ),
    "pt": lambda folder: phantoms.write_series(pet(), folder, seed=9403),
    "mg": lambda folder: phantoms.write_breast(breast(), folder, seed=9404),
    "sm": lambda folder: phantoms.write_slide(slide(), folder, seed=9405),
    "us-cine": lambda folder: phantoms.write_image(cine(), folder, seed=9406),
    "dx": _radiograph,
    "es-video": _endoscopy,
    "es-mpeg": _mpeg,
    "cr": _image(ImageKind.CR, 9410),
    "us": _image(ImageKind.US, 9411),
    "xc": _photo(PhotoKind.SKIN, 9412),
    "dms": _photo(
        PhotoKind.SKIN, 9413, Modality="DMS", SOPClassUID=DermoscopicPhotographyImageStorage
    ),
    "op": _photo(PhotoKind.RETINA, 9414),
    "es": _photo(PhotoKind.BOWEL, 9415),
    "us-doppler": _photo(PhotoKind.DOPPLER, 9416),
}
#: of pydicom, in its wheel or in pydicom-data
_OF_PYDICOM: Final = {
    "real-cr": "RG3_J2KR.dcm",
    "real-us": "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "real-us-colour": "examples_rgb_color.dcm",
    "real-us-cine": "examples_ybr_color.dcm",
    "real-nm": "JPEG2000.dcm",
}
#: of the shared test data
_SHARED: Final = {
    "real-ct": ("dicom", "ct_chest_lidc0314", "series"),
    "real-mr": ("dicom", "mr_brain_pgbm003", "11-T1post-18670"),
    "real-mr-cine": ("dicom", "mr_cardiac_cine", "multiframe-test1.dcm"),
    "real-xa": ("dicom", "codecs_wg04_a", "XA1_J2KR"),
    "real-fundus": ("dicom", "codecs_wg04_a", "VL4_J2KI"),
}


def _real() -> dict[str, Callable[[Path], object]]:
    """Return how to copy each real study that is at hand."""
    found: dict[str, Path] = {}
    for name, file in _OF_PYDICOM.items():
        path = get_testdata_file(file, download=False)
        if path is not None:
            found[name] = Path(path)
    for name, parts in _SHARED.items():
        if (path := beside(*parts)).exists():
            found[name] = path
    return {name: _copy(path) for name, path in found.items()}


def _copy(path: Path) -> Callable[[Path], object]:
    """Copy a file, or of a series the slices in the middle."""

    def write(folder: Path) -> None:
        files = sorted(path.iterdir(), key=_along) if path.is_dir() else [path]
        first = max(0, (len(files) - _SLICES) // 2)
        for number, file in enumerate(files[first : first + _SLICES]):
            shutil.copy(file, folder / str(number))

    return write


def _along(path: Path) -> float:
    """Return where an axial slice lies."""
    return float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])
