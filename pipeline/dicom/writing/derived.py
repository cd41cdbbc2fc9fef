"""Images computed from the source (denoised, of higher resolution) as a new series beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from pipeline.dicom.writing import concepts
from pipeline.dicom.writing.derived_modality import add_modality, image_type, storage_class
from pipeline.dicom.writing.modules import add_equipment, add_file_meta, coded, patient_and_study
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.source_images import decimal_string, source_template
from pipeline.dicom.writing.source_references import slices_at, source_images
from pipeline.dicom.writing.stored_values import StoredValues, stored_values
from pipeline.results import DerivedImage
from pipeline.volume import Image, Input, SourceHeader, Volume

_SERIES_NUMBER: Final = 9006


@dataclass(frozen=True)
class _Work:
    """What every slice of one derived series is made from."""

    source: Input
    header: SourceHeader
    template: Dataset
    derived: DerivedImage
    provenance: Provenance


def write_derived(source: Input, derived: DerivedImage, provenance: Provenance) -> list[bytes]:
    """Encode ``derived`` as single-frame instances of one new series, in the order of its slices.

    Slices of CT, MR and PET volumes keep that class and their frame of reference, with positions
    from ``derived.affine``; what has no such class, and images without a place in the patient,
    become Secondary Captures, one for each frame. See ``stored_values`` for the rounding; its
    bound is stated in Derivation Description.

    Args:
        source: what it was computed from.
        derived: (slices, rows, columns) in the unit of ``source``; (frames, rows, columns, 3)
            from 0 to 255 for colour images.
        provenance: the same provenance and values give the same bytes.

    Raises:
        ValueError: no header, no affine though the grid is another than the volume's, an affine
            whose axes are not at right angles, or colour in a volume.
        ComputeFailed: values that are not finite or that 16 bits cannot hold.

    """
    if source.header is None:
        raise ValueError("a derived image needs the header of its source")
    template = source_template(source.header)
    work = _Work(source, source.header, template, derived, provenance)
    if isinstance(source, Volume):
        return list(_slices(work, source))
    return list(_frames(work, source))


def _slices(work: _Work, source: Volume) -> Iterator[bytes]:
    values = work.derived.values
    if values.ndim != 3:
        raise ValueError("a volume derived from a volume has three axes")
    affine = work.derived.affine
    if affine is None:
        if values.shape != source.stored.shape:
            raise ValueError("a derived volume on another grid needs an affine")
        affine = source.affine
    grid = Volume(stored=values, affine=affine)  # refuses an affine that is none
    is_same_grid = values.shape == source.stored.shape and np.allclose(
        affine, source.affine, rtol=0, atol=1e-4
    )
    modality = work.header.modality
    stored = stored_values(values, modality=modality, unit=source.unit)
    dataset = _start(work, storage_class(work.template), stored, is_same_grid=is_same_grid)
    dataset.FrameOfReferenceUID = work.template.FrameOfReferenceUID
    dataset.PositionReferenceIndicator = work.template.get("PositionReferenceIndicator", "")
    if modality == "PT":
        dataset.NumberOfSlices = len(values)
    steps = affine[:3, :3] / np.asarray(grid.spacing)
    dataset.ImageOrientationPatient = _decimals([*steps[:, 2], *steps[:, 1]])
    dataset.PixelSpacing = _decimals(grid.spacing[1:])
    dataset.SliceThickness = dataset.SpacingBetweenSlices = decimal_string(grid.spacing[0])
    last_row, last_column = values.shape[1] - 1, values.shape[2] - 1
    for index, pixels in enumerate(stored.pixels):
        corners = grid.to_patient(
            np.array([(index, r, c) for r in (0, last_row) for c in (0, last_column)], float)
        )
        dataset.ImagePositionPatient = _decimals(corners[0])
        if modality == "PT":
            dataset.ImageIndex = index + 1
        dataset.SourceImageSequence = source_images(
            work.header, slices_at(source, corners), is_same_grid=bool(is_same_grid)
        )
        yield _encode(dataset, work, index, pixels)


def _frames(work: _Work, source: Image) -> Iterator[bytes]:
    values = work.derived.values
    is_same_grid = values.shape[:3] == source.pixels.shape[:3]
    if values.ndim == 4:
        rounded = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        stored = StoredValues(pixels=rounded, slope=1.0, intercept=0.0, error=0.5)
    else:
        stored = stored_values(values, modality=work.header.modality, unit=source.unit)
    dataset = _start(work, SecondaryCaptureImageStorage, stored, is_same_grid=is_same_grid)
    dataset.PatientOrientation = work.template.get("PatientOrientation", "")
    if source.spacing is not None:
        shrunk = np.array(source.pixels.shape[1:3]) / np.array(values.shape[1:3])
        of_detector = work.header.is_spacing_of_detector
        keyword = "ImagerPixelSpacing" if of_detector else "PixelSpacing"
        setattr(dataset, keyword, _decimals(np.asarray(source.spacing) * shrunk))
    is_loop = len(source.pixels) == len(values) > 1
    for index, pixels in enumerate(stored.pixels):
        (item,) = source_images(work.header, [0], is_same_grid=is_same_grid)
        if is_loop:
            item.ReferencedFrameNumber = index + 1
        dataset.SourceImageSequence = [item]
        yield _encode(dataset, work, index, pixels)


def _start(work: _Work, sop_class: UID, stored: StoredValues, *, is_same_grid: bool) -> Dataset:
    """Return all that the instances of the series share."""
    provenance, template = work.provenance, work.template
    created = provenance.created_at
    dataset = patient_and_study(template)
    dataset.SOPClassUID = sop_class
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    dataset.InstanceCreationDate = dataset.SeriesDate = dataset.ContentDate = date
    dataset.InstanceCreationTime = dataset.SeriesTime = dataset.ContentTime = time
    add_modality(dataset, template, work.source.unit)
    dataset.Modality = work.header.modality or "OT"
    what = re.sub(r"[^A-Z0-9]+", "_", work.derived.name.upper()).strip("_")[:16] or "COMPUTED"
    dataset.ImageType = image_type(template, sop_class, what)
    dataset.SeriesInstanceUID = UID(provenance.uid(f"derived {work.derived.name} series"))
    dataset.SeriesNumber = _SERIES_NUMBER
    prefix = "DEMO " if provenance.is_demonstration else ""
    name = f"{provenance.model_name} {provenance.model_version}"
    dataset.SeriesDescription = f"{prefix}{work.derived.name}, {name}"[:64]
    dataset.ImageComments = "Computed image, not for clinical use"
    if sop_class == SecondaryCaptureImageStorage:
        dataset.ConversionType = "WSD"
    burned_in = template.get("BurnedInAnnotation")
    if burned_in in {"YES", "NO"} or isinstance(work.source, Volume):
        dataset.BurnedInAnnotation = burned_in or "NO"
    add_equipment(dataset, template, provenance)
    _add_derivation(dataset, work, stored, is_same_grid=is_same_grid)
    _add_pixel_module(dataset, stored, work.source.unit)
    return dataset


def _add_derivation(
    dataset: Dataset, work: _Work, stored: StoredValues, *, is_same_grid: bool
) -> None:
    """Say how the values came about, and how far rounding moved them (PS3.3 C.7.6.1.1.3)."""
    provenance, unit = work.provenance, work.source.unit
    dataset.DerivationDescription = (
        f"{work.derived.name} by {provenance.model_name} {provenance.model_version}, "
        f"model sha256 {provenance.model_digest[:16]}. "
        f"Stored values are rounded by at most {stored.error:.3g} {unit}".rstrip()
    )
    steps = [concepts.coded(work.derived.name, work.derived.code)]
    if not is_same_grid:
        steps.append(codes.cid7203.SpatialResampling)
    dataset.DerivationCodeSequence = [coded(step) for step in steps]
    if work.derived.code is None:
        dataset.CodingSchemeIdentificationSequence = [concepts.private_scheme()]


def _add_pixel_module(dataset: Dataset, stored: StoredValues, unit: str) -> None:
    pixels = stored.pixels
    is_colour = pixels.ndim == 4
    dataset.Rows, dataset.Columns = pixels.shape[1:3]
    dataset.SamplesPerPixel = 3 if is_colour else 1
    dataset.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    if is_colour:
        dataset.PlanarConfiguration = 0
        return
    is_plain = (stored.slope, stored.intercept) == (1.0, 0.0)
    if is_plain and dataset.Modality not in {"CT", "PT"}:
        return
    dataset.RescaleSlope = decimal_string(stored.slope)
    dataset.RescaleIntercept = decimal_string(stored.intercept)
    if dataset.Modality != "PT":
        dataset.RescaleType = "HU" if unit == "HU" else "US"


def _encode(dataset: Dataset, work: _Work, index: int, pixels: NDArray[Any]) -> bytes:
    instance = f"derived {work.derived.name} instance {index}"
    dataset.SOPInstanceUID = UID(work.provenance.uid(instance))
    dataset.InstanceNumber = index + 1
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
    dataset.add_new(
        "PixelData", "OW" if pixels.dtype.itemsize == 2 else "OB", data + b"\0" * (len(data) % 2)
    )
    add_file_meta(dataset, ExplicitVRLittleEndian)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _decimals(values: Any) -> list[str]:
    return [decimal_string(float(value)) for value in values]
