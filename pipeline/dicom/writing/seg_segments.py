"""How the segments of a SEG are described (PS3.3 C.8.20.2, C.8.20.4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Final

import highdicom as hd
from highdicom.seg import SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from pipeline.dicom.writing.modules import plain_text
from pipeline.dicom.writing.provenance import Provenance
from pipeline.palette import Rgb, color_of
from pipeline.results import Code, Segment

# It states "skipped attribute ...", which is no news to an operator.
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
_BACKGROUND: Final = DicomCode("125040", "DCM", "Background")


def in_order(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments by number; the first becomes segment 1 of the object, and so on.

    Raises:
        ValueError: no segment, two of one number, or a number that a label map cannot hold.

    """
    ordered = sorted(segments, key=lambda segment: segment.number)
    numbers = [segment.number for segment in ordered]
    if not numbers:
        raise ValueError("a segmentation needs at least one segment")
    if len(set(numbers)) < len(numbers) or numbers[0] < 1 or numbers[-1] > 255:
        raise ValueError("the numbers of segments are distinct and lie between 1 and 255")
    return ordered


def descriptions(ordered: Sequence[Segment], provenance: Provenance) -> list[SegmentDescription]:
    """Return the items of the Segment Sequence, numbered from 1 without a gap."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name=plain_text(provenance.model_name),
        version=plain_text(provenance.model_version),
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
            segment_label=plain_text(segment.label) or f"Segment {number}",
            segmented_property_category=_dicom(_category(segment)),
            segmented_property_type=_dicom(segment.code or _TISSUE),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=provenance.uid(f"segment {segment.number}"),
            tracking_id=plain_text(f"{provenance.model_name} {segment.label}"),
            display_color=_lab(color_of(segment.number)),
        )
        for number, segment in enumerate(ordered, start=1)
    ]


def background(provenance: Provenance) -> SegmentDescription:
    """Return segment 0 of a LABELMAP: every value in its pixels must be described."""
    item = SegmentDescription(
        segment_number=1,
        segment_label="Background",
        segmented_property_category=_BACKGROUND,
        segmented_property_type=_BACKGROUND,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=plain_text(provenance.model_name),
            version=plain_text(provenance.model_version),
            family=codes.cid7162.ArtificialIntelligence,
        ),
        display_color=_lab((0, 0, 0)),
    )
    item.SegmentNumber = 0
    return item


@cache
def _lab(color: Rgb) -> hd.color.CIELabColor:
    return hd.color.CIELabColor.from_rgb(*color)


def _category(segment: Segment) -> Code:
    """Return the category the model states, else one that is true of its type (CID 7150)."""
    if segment.category is not None:
        return segment.category
    if segment.code is None or segment.code.scheme != "SCT":
        return _TISSUE
    return _ABNORMAL if segment.code.value in _ABNORMAL_TYPES else _ANATOMICAL


def _dicom(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, plain_text(code.meaning))
