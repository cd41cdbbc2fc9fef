"""Label maps as DICOM Segmentation objects (PS3.3 A.51) on the grid of their source."""

from __future__ import annotations

import enum
import io
import logging
from collections.abc import Sequence
from typing import Any, Final

import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.source_images import source_datasets
from pipeline.errors import StudyRejected
from pipeline.palette import color_of
from pipeline.reasons import Reason
from pipeline.results import Code, Segment
from pipeline.volume import Image, Input, SourceHeader, Volume

# It states "skipped attribute ..." and every empty mask; neither is news to an operator.
logging.getLogger("highdicom").setLevel(logging.ERROR)

_TISSUE: Final = Code(scheme="SCT", value="85756007", meaning="Tissue")
_ANATOMICAL: Final = Code(scheme="SCT", value="123037004", meaning="Anatomical Structure")
_ABNORMAL: Final = Code(
    scheme="SCT", value="49755003", meaning="Morphologically Abnormal Structure"
)
#: types that are no anatomy: mass, lesion, nodule, neoplasm, bleeding, edema, cyst, calcification
_ABNORMAL_TYPES: Final = frozenset(
    {
        "4147007",
        "52988006",
        "27925004",
        "108369006",
        "50960005",
        "79654002",
        "367643001",
        "18115005",
        "125671007",
    }
)
_SERIES_NUMBER: Final = 9001


class Encoding(enum.StrEnum):
    """How the pixels are stored. Every viewer reads BINARY; LABELMAP (Sup. 243) is far smaller."""

    BINARY = "BINARY"
    LABELMAP = "LABELMAP"


#: one bit per pixel needs no compression (and viewers expect none); whole bytes do
_TRANSFER_SYNTAX: Final = {
    Encoding.BINARY: ExplicitVRLittleEndian,
    Encoding.LABELMAP: RLELossless,
}


def write_seg(
    source: Input,
    label_map: NDArray[np.uint8],
    segments: Sequence[Segment],
    provenance: Provenance,
    *,
    encoding: Encoding = Encoding.BINARY,
) -> bytes:
    """Encode ``label_map`` as one SEG instance in a series of its own.

    Args:
        source: what was segmented; its ``header`` gives patient, study and the slices' UIDs.
        label_map: uint8 (slices, rows, columns) on the grid of ``source``.
        segments: the labels that are described, present in the map or not. They are numbered
            anew from 1 in order of their numbers, because BINARY allows no gap (PS3.3 C.8.20.2).
        provenance: the same provenance and map give the same bytes.
        encoding: BINARY unless the analysis asks otherwise.

    Returns:
        A DICOM file. Slices without any segment are left out; a map with nothing in it is
        still a valid statement and carries the first slice, empty.

    Raises:
        ValueError: no header, no segment, a shape other than the source's, or a label in the
            map that no segment describes.
        StudyRejected: a loop of several frames without a frame of reference.

    """
    if source.header is None:
        raise ValueError("a segmentation needs the header of its source")
    mask = _renumber(label_map, segments)
    shape = source.stored.shape if isinstance(source, Volume) else source.pixels.shape[:3]
    if mask.shape != shape:
        raise ValueError(f"the label map has shape {mask.shape}, its source {shape}")
    images, pixels, further = _correspondence(source, source.header, mask)
    segmentation = Segmentation(
        source_images=images,
        further_source_images=further or None,
        pixel_array=pixels,
        segmentation_type=encoding.value,
        segment_descriptions=_descriptions(segments, provenance),
        series_instance_uid=provenance.uid("series"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=provenance.uid("instance"),
        instance_number=1,
        manufacturer="Nightshift",
        manufacturer_model_name=provenance.model_name[:64],
        software_versions=f"Nightshift {provenance.software_version}"[:64],
        device_serial_number=provenance.model_digest[:16] or "0",
        content_label="SEGMENTATION",
        content_description=_content_description(provenance),
        series_description=_series_description(provenance),
        content_date=provenance.created_at.date(),
        content_time=provenance.created_at.time(),
        series_date=provenance.created_at.date(),
        series_time=provenance.created_at.time(),
        transfer_syntax_uid=_TRANSFER_SYNTAX[encoding],
        specific_character_set="ISO_IR 192",
        omit_empty_frames=bool(mask.any()),
    )
    _fix_origin(segmentation, provenance)
    buffer = io.BytesIO()
    segmentation.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _renumber(label_map: NDArray[np.uint8], segments: Sequence[Segment]) -> NDArray[np.uint8]:
    """Map the segments' numbers to 1, 2 ... in ascending order."""
    if not segments:
        raise ValueError("a segmentation needs at least one segment")
    numbers = sorted(segment.number for segment in segments)
    if numbers == list(range(1, len(numbers) + 1)) and label_map.max() <= len(numbers):
        return label_map
    unknown_number = 255
    table = np.full(256, unknown_number, np.uint8)
    table[[0, *numbers]] = np.arange(len(numbers) + 1, dtype=np.uint8)
    renumbered = np.asarray(table[label_map])
    if renumbered.max() == unknown_number:
        unknown = sorted(set(np.unique(label_map[renumbered == unknown_number]).tolist()))
        raise ValueError(f"no segment describes the labels {unknown} of the map")
    return renumbered


def _correspondence(
    source: Input, header: SourceHeader, mask: NDArray[np.uint8]
) -> tuple[list[Dataset], NDArray[np.uint8] | hd.Volume, list[Dataset]]:
    """Return source images, pixels that follow them, and images that are only referred to.

    Slice i of a series of single-frame instances is instance i, so positions are copied from
    the source to the last digit. Frames of one multi-frame instance are in no spatial order:
    there the affine of the volume tells which frame a slice came from.
    """
    images = source_datasets(header)
    if isinstance(source, Volume) and len(images) != len(mask):
        volume = hd.Volume(
            array=mask,
            affine=source.affine,
            coordinate_system="PATIENT",
            frame_of_reference_uid=images[0].FrameOfReferenceUID,
        )
        return images, volume, []
    if len(mask) > 1 and "FrameOfReferenceUID" not in images[0]:
        sentence = "a loop without a place in the patient cannot be written as DICOM SEG"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    if isinstance(source, Image) or mask.any():
        return images, mask, []
    return images[:1], mask[:1], images[1:]


def _descriptions(segments: Sequence[Segment], provenance: Provenance) -> list[SegmentDescription]:
    algorithm = hd.AlgorithmIdentificationSequence(
        name=provenance.model_name[:64],
        version=provenance.model_version[:64],
        family=(
            codes.cid7162.ArtificialIntelligence
            if provenance.is_learned
            else codes.cid7162.MorphologicalOperations
        ),
        source="Nightshift",
    )
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=segment.label[:64],
            segmented_property_category=_dicom(_category(segment)),
            segmented_property_type=_dicom(segment.code or _TISSUE),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=provenance.uid(f"segment {segment.number}"),
            tracking_id=f"{provenance.model_name} {segment.label}"[:64],
            display_color=hd.color.CIELabColor.from_rgb(*color_of(segment.number)),
        )
        for number, segment in enumerate(sorted(segments, key=lambda s: s.number), start=1)
    ]


def _category(segment: Segment) -> Code:
    """Return the category the model states, else one that is true of its type (CID 7150)."""
    if segment.category is not None:
        return segment.category
    if segment.code is None or segment.code.scheme != "SCT":
        return _TISSUE
    return _ABNORMAL if segment.code.value in _ABNORMAL_TYPES else _ANATOMICAL


def _dicom(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, code.meaning[:64])


def _content_description(provenance: Provenance) -> str:
    what = (
        "DEMONSTRATION model, not for clinical use"
        if provenance.is_demonstration
        else ("Automatic segmentation, not for clinical use")
    )
    return what[:64]


def _series_description(provenance: Provenance) -> str:
    prefix = "DEMO " if provenance.is_demonstration else ""
    return f"{prefix}{provenance.model_name} {provenance.model_version}"[:64]


def _fix_origin(segmentation: Any, provenance: Provenance) -> None:
    """Replace what highdicom draws at random or takes from the clock, so that reruns agree."""
    created = provenance.created_at
    segmentation.InstanceCreationDate = created.strftime("%Y%m%d")
    segmentation.InstanceCreationTime = created.strftime("%H%M%S.%f")
    # the last one is highdicom itself, as the software that wrote the object
    writer = segmentation.ContributingEquipmentSequence[-1]
    writer.ContributionDateTime = created.strftime("%Y%m%d%H%M%S")
    organization = provenance.uid("dimension organization")
    for item in segmentation.DimensionOrganizationSequence:
        item.DimensionOrganizationUID = organization
    for item in segmentation.get("DimensionIndexSequence", ()):
        item.DimensionOrganizationUID = organization
