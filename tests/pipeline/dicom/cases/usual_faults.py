"""Cases in which the readers that everybody uses answer wrongly without an error."""

from __future__ import annotations

import math

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, LegacyConvertedEnhancedCTImageStorage

from pipeline.reasons import Reason
from pipeline.volume import Image, Input, Volume
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.cases.case import Case, each, one, raw, slices

_TILT = math.radians(20)


def in_order(inputs: list[Input]) -> None:
    """Every slice is at its place, 5 mm apart, as the pixels themselves say."""
    (volume,) = inputs
    assert isinstance(volume, Volume)
    assert volume.spacing == (5.0, 2.0, 0.5)
    assert volume.affine[:3, 3].tolist() == [10, 20, 30]
    assert [int(plane[0, 0]) for plane in volume.stored] == [1000 * n for n in range(5)]


def _other_series(made: list[Dataset]) -> None:
    for dataset in series.stack():
        dataset.SeriesInstanceUID = UID(f"{series.SERIES}7")
        dataset.SOPInstanceUID = UID(f"{dataset.SOPInstanceUID}7")
        made.append(dataset)


def _localizer(made: list[Dataset]) -> None:
    scout = series.instance(9)
    scout.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    made.append(scout)


def shear(made: list[Dataset]) -> None:
    """Tilt the gantry by 20 degrees: the table still moves along z."""
    for dataset in made:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, math.cos(_TILT), -math.sin(_TILT)]


def make_enhanced(made: list[Dataset]) -> None:
    """Make one legacy-converted enhanced CT of the slices, its frames in another order."""
    order = [3, 0, 4, 1, 2]
    whole = made[0]
    frames = []
    for index in order:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = made[index].ImagePositionPatient
        group.PlanePositionSequence = [place]
        frames.append(group)
    measures, plane, values, shared = (Dataset() for _ in range(4))
    measures.PixelSpacing = whole.PixelSpacing
    plane.ImageOrientationPatient = whole.ImageOrientationPatient
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1024, "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [values]
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.NumberOfFrames = len(order)
    whole.PixelData = b"".join(made[index].PixelData for index in order)
    whole.SOPClassUID = LegacyConvertedEnhancedCTImageStorage
    whole.file_meta.MediaStorageSOPClassUID = LegacyConvertedEnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(whole, keyword)
    del whole.RescaleSlope, whole.RescaleIntercept
    made[:] = [whole]


def _inverted_scale(made: list[Dataset]) -> None:
    """One MONOCHROME1 radiograph of the stored values 0, 10, 20 and 30."""
    radiograph = made[0]
    made[:] = [radiograph]
    radiograph.SOPClassUID = radiograph.file_meta.MediaStorageSOPClassUID = UID(
        "1.2.840.10008.5.1.4.1.1.1"
    )
    radiograph.Modality, radiograph.PhotometricInterpretation = "CR", "MONOCHROME1"
    radiograph.Rows, radiograph.Columns = 2, 2
    radiograph.PixelData = np.array([0, 10, 20, 30], np.int16).tobytes()
    radiograph.PixelRepresentation = 0
    radiograph.BitsStored, radiograph.HighBit = 12, 11
    del radiograph.ImagePositionPatient, radiograph.ImageOrientationPatient
    del radiograph.RescaleSlope, radiograph.RescaleIntercept


def _brighter_is_larger(inputs: list[Input]) -> None:
    (image,) = inputs
    assert isinstance(image, Image)
    assert image.pixels.ravel().tolist() == [4095, 4085, 4075, 4065]


def _keeps_hounsfield(inputs: list[Input]) -> None:
    (volume,) = inputs
    assert isinstance(volume, Volume)
    assert float(volume.values()[1, 2, 3]) == 1023 - 1024
    assert any("MONOCHROME1" in warning for warning in volume.warnings)


def _palette(made: list[Dataset]) -> None:
    """One image of indices 0, 1 and 2 into red, green and blue; 2 and beyond are blue."""
    image = made[0]
    made[:] = [image]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.6.1")
    image.Modality, image.PhotometricInterpretation = "US", "PALETTE COLOR"
    image.Rows, image.Columns, image.PixelRepresentation = 1, 4, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    image.PixelData = bytes([0, 1, 2, 200])
    for keyword, at in (("Red", 0), ("Green", 1), ("Blue", 2)):
        setattr(image, f"{keyword}PaletteColorLookupTableDescriptor", [3, 0, 16])
        table = np.zeros(3, "<u2")
        table[at] = 65535
        setattr(image, f"{keyword}PaletteColorLookupTableData", table.tobytes())
    del image.ImagePositionPatient, image.ImageOrientationPatient
    del image.RescaleSlope, image.RescaleIntercept


def _in_colours(inputs: list[Input]) -> None:
    (image,) = inputs
    assert isinstance(image, Image)
    red, green, blue = [255, 0, 0], [0, 255, 0], [0, 0, 255]
    assert image.pixels[0, 0].tolist() == [red, green, blue, blue]


_WHOLE = ("volume ok",)
_RESCALE = ("volume pixels.rescale_not_finite",)
_GEOMETRY = ("volume series.geometry_invalid",)

CASES = (
    Case("sound", slices(), series=_WHOLE, check=in_order),
    Case(
        "one slice missing",
        slices(lambda made: made.pop(2)),
        series=("volume series.missing_slice",),
    ),
    Case(
        "duplicate position",
        slices(one(3, ImagePositionPatient=[10, 20, 40])),
        series=("volume series.duplicate_position",),
    ),
    Case(
        "InstanceNumber not spatial",
        slices(
            lambda made: [
                setattr(d, "InstanceNumber", n) for d, n in zip(made, "31524", strict=True)
            ]
        ),
        series=_WHOLE,
        check=in_order,
    ),
    Case(
        "one slice lacks InstanceNumber",
        slices(one(2, InstanceNumber=None)),
        series=_WHOLE,
        check=in_order,
    ),
    Case("two series in one folder", slices(_other_series), series=_WHOLE * 2),
    Case(
        "a localizer mixed in",
        slices(_localizer),
        series=("image series.localizer", "volume ok"),
        check=in_order,
    ),
    Case(
        "gantry tilt of 20 degrees",
        slices(shear),
        series=("volume series.gantry_tilt",),
    ),
    *(
        Case(
            f"RescaleSlope {value.decode()!r}", slices(raw("RescaleSlope", value)), series=_RESCALE
        )
        for value in (b"NaN", b"inf", b"1e308", b"0", b"")
    ),
    *(
        Case(f"PixelSpacing {value.decode()}", slices(raw("PixelSpacing", value)), series=_GEOMETRY)
        for value in (b"0\\0", b"-1\\1", b"NaN\\NaN")
    ),
    Case(
        "ImagePositionPatient NaN",
        slices(raw("ImagePositionPatient", b"NaN\\0\\0", only=1)),
        series=_GEOMETRY,
    ),
    Case(
        "ImageOrientationPatient all zero",
        slices(each(ImageOrientationPatient=[0] * 6)),
        series=_GEOMETRY,
    ),
    Case(
        "ImageOrientationPatient not of unit length",
        slices(each(ImageOrientationPatient=[2, 0, 0, 0, 2, 0])),
        series=_GEOMETRY,
    ),
    Case("enhanced multi-frame", slices(make_enhanced), series=_WHOLE, check=in_order),
    Case(
        "one SOPInstanceUID on all slices",
        slices(each(SOPInstanceUID=UID("1.2.3.1.1.1"))),
        files=(Reason.FILE_DUPLICATE,),
    ),
    Case(
        "another FrameOfReferenceUID in every other slice",
        slices(lambda made: [setattr(d, "FrameOfReferenceUID", "1.2.3.8") for d in made[::2]]),
        series=("volume ok", "volume series.too_few_slices"),
    ),
    Case("anisotropic in the plane", slices(), series=_WHOLE, check=in_order),
    Case(
        "MONOCHROME1 radiograph",
        slices(_inverted_scale),
        series=("image ok",),
        check=_brighter_is_larger,
    ),
    Case(
        "MONOCHROME1 slices",
        slices(each(PhotometricInterpretation="MONOCHROME1")),
        series=_WHOLE,
        check=_keeps_hounsfield,
    ),
    Case("palette colour", slices(_palette), series=("image ok",), check=_in_colours),
)
