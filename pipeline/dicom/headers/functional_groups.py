"""What the functional groups of a multi-frame object say of each frame (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pipeline.dicom.headers.elements import (
    integer_of,
    number_of,
    numbers_of,
    text_of,
    texts_of,
    value_of,
)
from pipeline.dicom.headers.instance import FramePlace
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

#: The elements of a data set that ``places_of`` looks at.
KEYWORDS: Final = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionIndexSequence",
)

#: The macro of each kind of image that holds FrameType and what else describes the frame.
_FRAME_TYPES: Final = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XAXRFFrameCharacteristicsSequence",
    "XRay3DFrameTypeSequence",
    "USImageDescriptionSequence",
)
#: What objects converted from single frames keep of them, one data set per frame.
_CONVERTED: Final = (
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)

#: (keyword, the macros it is looked for in): what tells the phases of one scan apart.
_PHASES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("StackID", ("FrameContentSequence",)),
    ("ComplexImageComponent", ("MRImageFrameTypeSequence",)),
    ("EchoNumbers", _CONVERTED),
    ("EffectiveEchoTime", ("MREchoSequence",)),
    ("EchoTime", _CONVERTED),
    ("InversionTimes", ("MRModifierSequence",)),
    ("InversionTime", _CONVERTED),
    ("DiffusionBValue", ("MRDiffusionSequence", *_CONVERTED)),
    ("DiffusionDirectionality", ("MRDiffusionSequence",)),
    ("ASLContext", ("MRArterialSpinLabelingSequence",)),
    ("ConvolutionKernel", ("CTReconstructionSequence", *_CONVERTED)),
    ("KVP", ("CTXRayDetailsSequence", *_CONVERTED)),
    ("TemporalPositionIdentifier", _CONVERTED),
    ("TemporalPositionIndex", ("FrameContentSequence",)),
    ("TemporalPositionTimeOffset", ("TemporalPositionSequence",)),
    ("NominalPercentageOfCardiacPhase", ("CardiacSynchronizationSequence",)),
    ("NominalCardiacTriggerDelayTime", ("CardiacSynchronizationSequence",)),
    ("NominalPercentageOfRespiratoryPhase", ("RespiratorySynchronizationSequence",)),
    ("FrameReferenceTime", _CONVERTED),
    ("TriggerTime", _CONVERTED),
    ("AcquisitionNumber", _CONVERTED),
    ("FrameAcquisitionNumber", ("FrameContentSequence",)),
)
_MACROS: Final = {
    Tag(keyword): keyword
    for keyword in (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
        *_FRAME_TYPES,
        *(home for _, homes in _PHASES for home in homes),
    )
}
#: Dimensions that say where a frame lies, not which of several at one place it is.
_SPATIAL: Final = frozenset(
    {
        0x00200032,  # ImagePositionPatient
        0x00200037,  # ImageOrientationPatient
        0x00209057,  # InStackPositionNumber
        0x00209301,  # ImagePositionVolume
        0x00201041,  # SliceLocation
    }
)


def places_of(dataset: Dataset) -> tuple[FramePlace, ...] | None:
    """Return what is said of each frame, in the order of the frames.

    A macro stands in the group of the frame, else in the group that all frames share. The work
    is linear in the items of the data set.

    Returns:
        One place per frame; None where the object has no functional groups, or where they tell
        neither a position, nor an orientation, nor a rescale of any frame.

    Raises:
        FileRefused: there is a group for each of another number of frames than there are.

    """
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    groups = _items(dataset, "PerFrameFunctionalGroupsSequence")
    if shared is None and not groups:
        return None
    count = integer_of(dataset, "NumberOfFrames") or 1
    if groups and len(groups) != count:
        sentence = f"{len(groups)} functional groups for {count} frames"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    own = _Groups(shared, dimensions=_dimensions(dataset))
    if not groups:
        groups = [Dataset()] * count
    places = tuple(own.place(group) for group in groups)
    return places if any(_tells(place) for place in places) else None


class _Groups:
    """The group that all frames share, looked into once, and the dimensions of the object."""

    def __init__(self, shared: Dataset | None, *, dimensions: Sequence[int]) -> None:
        self._shared: Mapping[str, Dataset] = {} if shared is None else _macros(shared)
        self._dimensions = dimensions

    def place(self, group: Dataset) -> FramePlace:
        """Return what is said of the frame that a group belongs to."""
        macros = {**self._shared, **_macros(group)}
        nothing = Dataset()
        measures = macros.get("PixelMeasuresSequence", nothing)
        transform = macros.get("PixelValueTransformationSequence", nothing)
        return FramePlace(
            orientation=numbers_of(
                macros.get("PlaneOrientationSequence", nothing), "ImageOrientationPatient", 6
            ),
            position=numbers_of(
                macros.get("PlanePositionSequence", nothing), "ImagePositionPatient", 3
            ),
            pixel_spacing=numbers_of(measures, "PixelSpacing", 2),
            slope=number_of(transform, "RescaleSlope"),
            intercept=number_of(transform, "RescaleIntercept"),
            rescale_type=text_of(transform, "RescaleType"),
            slice_thickness=number_of(measures, "SliceThickness"),
            image_type=_frame_type(macros),
            phases=tuple(self._phases(macros)),
        )

    def _phases(self, macros: Mapping[str, Dataset]) -> list[tuple[str, str]]:
        found: dict[str, str] = {}
        for keyword, homes in _PHASES:
            texts = (text_of(macros[home], keyword) for home in homes if home in macros)
            found[keyword] = next((text for text in texts if text), "")
        direction = _first(macros.get("MRDiffusionSequence"), "DiffusionGradientDirectionSequence")
        if direction is not None:
            keyword = "DiffusionGradientOrientation"
            found[keyword] = text_of(direction, keyword)
        found["DimensionIndexValues"] = self._dimension_values(macros)
        return [(keyword, text) for keyword, text in found.items() if text]

    def _dimension_values(self, macros: Mapping[str, Dataset]) -> str:
        """Return the indices of the dimensions that are not spatial, in their order."""
        content = macros.get("FrameContentSequence")
        values = () if content is None else texts_of(content, "DimensionIndexValues")
        if len(values) != len(self._dimensions):
            return ""
        return "\\".join(
            value
            for pointer, value in zip(self._dimensions, values, strict=True)
            if pointer not in _SPATIAL
        )


def _macros(group: Dataset) -> dict[str, Dataset]:
    """Return the one item of each macro in a group, by the keyword of its sequence."""
    found: dict[str, Dataset] = {}
    for tag in group.keys() & _MACROS.keys():
        item = _first(group, _MACROS[tag])
        if item is not None:
            found[_MACROS[tag]] = item
    return found


def _frame_type(macros: Mapping[str, Dataset]) -> tuple[str, ...]:
    for keyword in _FRAME_TYPES:
        if keyword in macros:
            return tuple(text.upper() for text in texts_of(macros[keyword], "FrameType"))
    converted = (macros[home] for home in _CONVERTED if home in macros)
    types = (texts_of(one, "ImageType") for one in converted)
    return next((tuple(text.upper() for text in one) for one in types if one), ())


def _dimensions(dataset: Dataset) -> list[int]:
    pointers = (
        value_of(item, "DimensionIndexPointer")
        for item in _items(dataset, "DimensionIndexSequence")
    )
    return [int(pointer) if isinstance(pointer, int) else 0 for pointer in pointers]


def _tells(place: FramePlace) -> bool:
    told = (place.position, place.orientation, place.slope, place.intercept)
    return any(one is not None for one in told)


def _items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent or is no sequence."""
    value = None if dataset is None else value_of(dataset, keyword)
    if value is None or isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return []
    return [item for item in value if isinstance(item, Dataset)]


def _first(dataset: Dataset | None, keyword: str) -> Dataset | None:
    items = _items(dataset, keyword)
    return items[0] if items else None
