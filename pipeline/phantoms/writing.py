"""Phantoms as DICOM files, with names that say nothing: volumes, images, photographs, slides."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    OphthalmicPhotography8BitImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VideoEndoscopicImageStorage,
    VideoPhotographicImageStorage,
    VLEndoscopicImageStorage,
    VLPhotographicImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from pipeline.phantoms.anatomy import Phantom
from pipeline.phantoms.breast import BreastPhantom
from pipeline.phantoms.image import ImageKind, ImagePhantom
from pipeline.phantoms.modules import decimal, put_cine, put_slide, put_ultrasound, put_volume
from pipeline.phantoms.photo import PhotoKind, PhotoPhantom
from pipeline.phantoms.slide import SlidePhantom
from pipeline.volume import Volume

_NAMESPACE = uuid.UUID("6d4b9a52-8f0e-5c61-9b7a-1f0f5d2e7c34")
_WHEN = ("20240102", "030405")
#: what all series of a study share: the patient stays where she lies
_OF_STUDY = frozenset({"study", "frame of reference"})
#: SOP class and body part of a photograph
_PHOTOS: Mapping[PhotoKind, tuple[UID, str]] = {
    PhotoKind.SKIN: (VLPhotographicImageStorage, "SKIN"),
    PhotoKind.RETINA: (OphthalmicPhotography8BitImageStorage, "RETINA"),
    PhotoKind.BOWEL: (VLEndoscopicImageStorage, "COLON"),
    PhotoKind.DOPPLER: (UltrasoundImageStorage, "LIVER"),
}
#: SOP class where there are several frames
_LOOPS: Mapping[PhotoKind, UID] = {
    PhotoKind.SKIN: VideoPhotographicImageStorage,
    PhotoKind.RETINA: OphthalmicPhotography8BitImageStorage,
    PhotoKind.BOWEL: VideoEndoscopicImageStorage,
    PhotoKind.DOPPLER: UltrasoundMultiFrameImageStorage,
}


@dataclass(frozen=True)
class Written:
    """What was written. ``paths`` and ``sop_instance_uids`` follow the slices along +normal."""

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    sop_instance_uids: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class _Identity:
    """Derives every UID of one series from its seeds. Same seeds, same UIDs."""

    seed: int
    study_seed: int
    uid_root: str

    def uid(self, what: str) -> str:
        scope = self.study_seed if what in _OF_STUDY else f"{self.study_seed}/{self.seed}"
        number = uuid.uuid5(_NAMESPACE, f"{scope}/{what}").int
        room = 64 - len(self.uid_root) - 1
        return f"{self.uid_root}.{str(number)[:room]}"


def write_series(
    phantom: Phantom,
    folder: Path,
    *,
    seed: int = 0,
    study_seed: int | None = None,
    uid_root: str = "2.25",
    description: str = "phantom",
) -> Written:
    """Write a volume phantom as one CT, MR or PET series, one file per slice.

    File names are hexadecimal and in no order; InstanceNumber follows the slices. Two series
    with the same ``study_seed`` (default: ``seed``) belong to one study, one patient and
    one frame of reference.
    """
    volume, identity = phantom.volume, _Identity(seed, _or(study_seed, seed), uid_root)
    dataset = _header(phantom.modality, identity)
    dataset.SeriesDescription = description
    put_volume(dataset, phantom)
    dataset.FrameOfReferenceUID = identity.uid("frame of reference")
    _put_orientation(dataset, phantom.volume)
    folder.mkdir(parents=True, exist_ok=True)
    uids, paths = [], []
    for index, pixels in enumerate(volume.stored):
        dataset.InstanceNumber = index + 1
        if phantom.modality == "PT":
            dataset.ImageIndex = index + 1
        place = volume.to_patient(np.array([index, 0.0, 0.0]))
        dataset.ImagePositionPatient = [decimal(value) for value in place]
        uids.append(identity.uid(f"instance {index}"))
        paths.append(_write(dataset, pixels, uids[-1], folder))
    return _written(identity, uids, paths)


def write_image(
    phantom: ImagePhantom,
    folder: Path,
    *,
    seed: int = 0,
    study_seed: int | None = None,
    uid_root: str = "2.25",
    is_monochrome1: bool = False,
) -> Written:
    """Write an image phantom as one instance of its own series.

    ``is_monochrome1`` (CR only) stores the negative, as film scanners do: small is bright.
    """
    kind = phantom.parameters.kind
    if phantom.source is not None:
        return write_series(
            phantom.source, folder, seed=seed, study_seed=study_seed, uid_root=uid_root
        )
    identity = _Identity(seed, _or(study_seed, seed), uid_root)
    dataset = _header(kind.value, identity)
    pixels = phantom.image.pixels
    if kind is ImageKind.US:
        put_ultrasound(dataset, pixels.shape[0], phantom.parameters.spacing)
        stored = pixels.astype(np.uint8)
    else:
        dataset.SOPClassUID = ComputedRadiographyImageStorage
        dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
        dataset.PatientOrientation = ["L", "F"]
        dataset.ImagerPixelSpacing = [decimal(value) for value in phantom.parameters.spacing]
        stored = pixels.astype(np.uint16)
        if is_monochrome1:
            dataset.PhotometricInterpretation, stored = "MONOCHROME1", 4095 - stored
    return _write_one(dataset, stored if len(stored) > 1 else stored[0], identity, folder)


def write_photo(
    phantom: PhotoPhantom,
    folder: Path,
    *,
    seed: int = 0,
    study_seed: int | None = None,
    uid_root: str = "2.25",
) -> Written:
    """Write a photo phantom as one RGB instance of its own series; several frames make a loop."""
    kind, identity = phantom.parameters.kind, _Identity(seed, _or(study_seed, seed), uid_root)
    dataset, pixels = _header(kind.value, identity), phantom.image.pixels
    dataset.SOPClassUID, dataset.BodyPartExamined = _PHOTOS[kind]
    dataset.ImageType, dataset.PatientOrientation = ["ORIGINAL", "PRIMARY"], ""
    _put_rgb(dataset)
    if len(pixels) > 1:
        dataset.SOPClassUID = _LOOPS[kind]
        put_cine(dataset, len(pixels))
    return _write_one(dataset, pixels if len(pixels) > 1 else pixels[0], identity, folder)


def write_slide(phantom: SlidePhantom, folder: Path, *, seed: int = 0) -> Written:
    """Write a slide phantom as one whole slide image of one level: a frame for each tile."""
    identity, tiles = _Identity(seed, seed, "2.25"), phantom.image.pixels
    dataset = _header("SM", identity)
    dataset.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    _put_rgb(dataset)
    put_slide(dataset, tiles, phantom.parameters.tiles[1])
    return _write_one(dataset, tiles, identity, folder)


def write_breast(phantom: BreastPhantom, folder: Path, *, seed: int = 0) -> Written:
    """Write a mammogram phantom, a left CC view for presentation."""
    identity = _Identity(seed, seed, "2.25")
    dataset = _header("MG", identity)
    dataset.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    dataset.ImageType, dataset.PresentationIntentType = ["ORIGINAL", "PRIMARY"], "FOR PRESENTATION"
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.ImageLaterality = "BREAST", "CC", "L"
    dataset.PatientOrientation = ["A", "R"]
    dataset.ImagerPixelSpacing = [decimal(value) for value in phantom.parameters.spacing]
    return _write_one(dataset, phantom.image.pixels[0].astype(np.uint16), identity, folder)


def _put_rgb(dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = 0


def _write_one(
    dataset: Dataset, pixels: NDArray[Any], identity: _Identity, folder: Path
) -> Written:
    """Write a series of one instance."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = identity.uid("instance 0")
    return _written(identity, [uid], [_write(dataset, pixels, uid, folder)])


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _written(identity: _Identity, uids: list[str], paths: list[Path]) -> Written:
    return Written(
        study_instance_uid=identity.uid("study"),
        series_instance_uid=identity.uid("series"),
        frame_of_reference_uid=identity.uid("frame of reference"),
        sop_instance_uids=tuple(uids),
        paths=tuple(paths),
    )


def _header(modality: str, identity: _Identity) -> Dataset:
    """Return the patient, study, series and equipment modules."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = _WHEN[0]
    dataset.AcquisitionDate = _WHEN[0]
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = _WHEN[1]
    dataset.AcquisitionTime = _WHEN[1]
    dataset.AccessionNumber = ""
    dataset.Modality = modality
    dataset.Manufacturer = "Nightshift phantoms"
    dataset.ReferringPhysicianName = ""
    dataset.PatientName = f"Phantom^Seed{identity.study_seed}"
    dataset.PatientID = f"PHANTOM-{identity.study_seed}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = identity.uid("study")
    dataset.SeriesInstanceUID = identity.uid("series")
    dataset.StudyID = str(identity.study_seed)
    dataset.SeriesNumber = identity.seed % 10_000 + 1
    dataset.InstanceNumber = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.SamplesPerPixel = 1
    return dataset


def _put_orientation(dataset: Dataset, volume: Volume) -> None:
    """State the grid of the volume (PS3.3 C.7.6.2.1.1): row cosine first, then column cosine."""
    spacing = volume.spacing
    cosines = volume.affine[:3, :3] / np.asarray(spacing)
    dataset.ImageOrientationPatient = [decimal(value) for value in (*cosines[:, 2], *cosines[:, 1])]
    dataset.PixelSpacing = [decimal(spacing[1]), decimal(spacing[2])]
    dataset.SliceThickness = decimal(spacing[0])
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"


def _write(dataset: Dataset, pixels: NDArray[Any], uid: str, folder: Path) -> Path:
    """Write one instance; its name is drawn from its UID, so that names tell no order."""
    dataset.SOPInstanceUID = uid
    is_colour = dataset.SamplesPerPixel == 3
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if is_colour else pixels.shape[-2:]
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, is_signed = bits, pixels.dtype.kind == "i"
    dataset.BitsStored = 12 if pixels.dtype == np.uint16 else bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(is_signed)
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    path = folder / f"{uuid.uuid5(_NAMESPACE, uid).hex[:16]}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path
