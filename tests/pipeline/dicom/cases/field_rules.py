"""What images of the field hold, and the behaviour that is right for it, rule by rule."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import UID

from pipeline.reasons import Reason
from pipeline.volume import Image, Input, Volume
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.cases.case import (
    Case,
    Check,
    Fault,
    Make,
    each,
    found,
    found_tree,
    one,
    raw,
    slices,
)
from tests.pipeline.dicom.cases.usual_faults import in_order, make_enhanced, shear

_WHOLE = ("volume ok",)
_IMAGE = ("image ok",)
_MR = UID("1.2.840.10008.5.1.4.1.1.4")
_PET = UID("1.2.840.10008.5.1.4.1.1.128")


def _file(name: str) -> Dataset:
    path = get_testdata_file(name, download=False)
    assert path is not None, name
    return pydicom.dcmread(str(path))


def _volume(inputs: list[Input]) -> Volume:
    (volume,) = inputs
    assert isinstance(volume, Volume)
    return volume


def _image(inputs: list[Input]) -> Image:
    (image,) = inputs
    assert isinstance(image, Image)
    return image


def _shows(values: Callable[[], NDArray[np.generic]]) -> Check:
    """Check that one image holds values that somebody else computed."""

    def check(inputs: list[Input]) -> None:
        assert np.array_equal(np.squeeze(_image(inputs).pixels), np.squeeze(values()))

    return check


def _says(word: str) -> Check:
    """Check that one input comes with a warning that says so."""

    def check(inputs: list[Input]) -> None:
        assert any(word in warning for warning in inputs[0].warnings), inputs[0].warnings

    return check


def _as_mr(made: list[Dataset]) -> None:
    for dataset in made:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = _MR
        dataset.Modality = "MR"
        del dataset.RescaleSlope, dataset.RescaleIntercept


def _twice(**values: tuple[object, object]) -> Fault:
    """Take every slice a second time, the two told apart by elements."""

    def fault(made: list[Dataset]) -> None:
        _as_mr(made)
        for number, dataset in enumerate(series.stack(len(made))):
            _as_mr_one(dataset)
            dataset.SOPInstanceUID = UID(f"{series.SERIES}.{number + 101}")
            for keyword, (_, second) in values.items():
                setattr(dataset, keyword, second)
            made.append(dataset)
        for dataset in made[: len(made) // 2]:
            for keyword, (first, _) in values.items():
                setattr(dataset, keyword, first)

    return fault


def _as_mr_one(dataset: Dataset) -> None:
    _as_mr([dataset])


def _copied(folder: Path) -> None:
    series.write(folder, series.stack())
    shutil.copy(folder / "0003.dcm", folder / "copy.dcm")


def _turned(made: list[Dataset]) -> None:
    """Lay the slices sagittal: rows run to the back, columns to the feet."""
    for number, dataset in enumerate(made):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [-(40 - 5.0 * number), 20, 30]


def _sagittal(inputs: list[Input]) -> None:
    volume = _volume(inputs)
    assert volume.spacing == (5.0, 2.0, 0.5)
    assert volume.affine[:3, 0].tolist() == [-5, 0, 0]
    assert [int(plane[0, 0]) for plane in volume.stored] == [4000, 3000, 2000, 1000, 0]


def _between_rows_first(inputs: list[Input]) -> None:
    affine = _volume(inputs).affine
    assert affine[:3, 1].tolist() == [0, 2.0, 0]  # from row to row, along y
    assert affine[:3, 2].tolist() == [0.5, 0, 0]  # from column to column, along x


def _thick(made: list[Dataset]) -> None:
    each(SliceThickness=1.25, SpacingBetweenSlices=2.5)(made)


def _jitter(share: float) -> Fault:
    """Move every second slice by a share of the distance between slices."""

    def fault(made: list[Dataset]) -> None:
        for dataset in made[1::2]:
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, y, float(z) + 5 * share]

    return fault


def _slopes(made: list[Dataset]) -> None:
    for number, dataset in enumerate(made):
        dataset.RescaleSlope, dataset.RescaleIntercept = number + 1, -number


def _scaled_per_slice(inputs: list[Input]) -> None:
    values = _volume(inputs).values()
    for number in range(5):
        assert np.array_equal(values[number], series.pixels(number) * (number + 1.0) - number)


def _padded(made: list[Dataset]) -> None:
    """Put the padding value into a corner of every slice."""
    for number, dataset in enumerate(made):
        stored = series.pixels(number)
        stored[0, 0] = -2000
        dataset.PixelData, dataset.PixelPaddingValue = stored.tobytes(), -2000


def _without_padding(inputs: list[Input]) -> None:
    volume = _volume(inputs)
    assert volume.stored.min() == 1  # the least value of the image proper
    assert any("padding" in warning for warning in volume.warnings)


def _pet(**values: object) -> Fault:
    """Make PET slices that state all that SUV needs, then change some of it."""
    sound: dict[str, object] = {
        "Units": "BQML",
        "CorrectedImage": ["ATTN", "DECY"],
        "DecayCorrection": "START",
        "SeriesDate": "20260102",
        "SeriesTime": "110000",
        "AcquisitionDate": "20260102",
        "AcquisitionTime": "110000",
        "PatientWeight": "70",
    }

    def fault(made: list[Dataset]) -> None:
        for dataset in made:
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = _PET
            dataset.Modality = "PT"
            dataset.RescaleIntercept = 0
            dose = Dataset()
            dose.RadiopharmaceuticalStartTime = "100000"
            dose.RadionuclideTotalDose, dose.RadionuclideHalfLife = "350000000", "3600"
            dataset.RadiopharmaceuticalInformationSequence = [dose]
        each(**(sound | values))(made)

    return fault


def _suv(inputs: list[Input]) -> None:
    """Half of 350 MBq is left after one half-life: 70 kg / 175 MBq = 0.0004 g/Bq."""
    volume = _volume(inputs)
    value = float(volume.values()[1, 2, 3])
    assert math.isclose(value, 1023 * 70_000 / 175e6, rel_tol=1e-6)
    assert "g/ml" in volume.unit.lower()


def _animal(made: list[Dataset]) -> None:
    each(AnatomicalOrientationType="QUADRUPED")(made)


def _charset(made: list[Dataset]) -> None:
    for dataset in made:
        dataset.SpecificCharacterSet = "ISO_IR 144"
        dataset.PatientName, dataset.SeriesDescription = "Люкceмбypг", "грудь"  # noqa: RUF001 - Russian


def _lone_slices(inputs: list[Input]) -> None:
    assert all(isinstance(image, Image) for image in inputs)


def _unlike(*wrong: str) -> Check:
    """Check that colour images are RGB, bytes, and no grey."""

    def check(inputs: list[Input]) -> None:
        pixels = _image(inputs).pixels
        assert pixels.shape[-1] == 3
        assert pixels.dtype == np.uint8
        assert np.ptp(pixels.astype(int), axis=-1).max() > 0, wrong

    return check


def _syntaxes() -> list[Case]:
    """Return one case per encoding of one MR image: all of them hold the same pixels."""
    names = ("bigendian", "implicit", "RLE", "jp2klossless", "jpeg_ls_lossless")
    same = _shows(lambda: _file("MR_small.dcm").pixel_array)
    return [
        Case(f"MR_small {n}", found(f"MR_small_{n}.dcm"), series=_IMAGE, check=same) for n in names
    ]


def _tied_phases(make: Make, title: str) -> Case:
    return Case(title, make, series=("volume ok", "volume ok"))


def _close_to(inputs: list[Input], values: Callable[[], NDArray[np.generic]]) -> None:
    assert np.allclose(np.squeeze(_image(inputs).pixels), values(), rtol=1e-6)


def _suv_of_admin(inputs: list[Input]) -> None:
    values = _volume(inputs).values()
    assert math.isclose(float(values[1, 2, 3]), 1023 * 35_000 / 350e6, rel_tol=1e-6)


CASES = (
    Case(
        "grouping: three patients in one tree come apart by UID",
        found_tree("dicomdirtests", "98892001"),
        series=("image series.localizer", "image series.localizer", "volume ok"),
    ),
    Case(
        "order: several MR series, positions decide",
        found_tree("dicomdirtests", "98892003", "MR700"),
        series=("image ok",) * 7,
    ),
    Case("spacing: SliceThickness is no distance", slices(_thick), series=_WHOLE, check=in_order),
    Case("regularity: 0.1 % of jitter is accepted", slices(_jitter(0.001)), series=_WHOLE),
    Case(
        "regularity: 4 % is refused",
        slices(_jitter(0.04)),
        series=("volume series.geometry_invalid",),
    ),
    Case(
        "jitter: cosines that differ by 1e-7",
        slices(one(3, ImageOrientationPatient=[1, 1e-7, 0, 0, 1, 0])),
        series=_WHOLE,
    ),
    Case(
        "missing slices: one at z = -99.5, three from 103",
        found_tree("dicomdirtests", "77654033", "CT2"),
        series=("volume series.missing_slice",),
    ),
    Case("non-axial: sagittal", slices(_turned), series=_WHOLE, check=_sagittal),
    Case("PixelSpacing: rows first", slices(), series=_WHOLE, check=_between_rows_first),
    Case("gantry tilt", slices(shear), series=("volume series.gantry_tilt",)),
    Case(
        "localizer by its ImageType",
        slices(each(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])),
        series=("volume series.localizer",),
    ),
    Case(
        "duplicates: a copy is kept once",
        _copied,
        files=(Reason.FILE_DUPLICATE,),
        series=_WHOLE,
        check=in_order,
    ),
    _tied_phases(slices(_twice(TemporalPositionIdentifier=(1, 2))), "4D: two times"),
    _tied_phases(slices(_twice(DiffusionBValue=(0.0, 1000.0))), "4D: two b-values"),
    _tied_phases(slices(_twice(EchoTime=(10, 80), EchoNumbers=(1, 2))), "4D: two echoes"),
    _tied_phases(slices(_twice(TriggerTime=(0, 400))), "4D: two heart phases"),
    Case(
        "4D: nothing tells the phases apart",
        slices(_twice()),
        series=("volume series.duplicate_position",),
    ),
    Case(
        "aborted: the second phase lacks two slices",
        slices(
            _twice(TemporalPositionIdentifier=(1, 2)),
            lambda made: made.__delitem__(slice(-2, None)),
        ),
        series=("volume series.partial_phase", "volume series.too_few_slices"),
    ),
    Case(
        "enhanced: frames in no spatial order", slices(make_enhanced), series=_WHOLE, check=in_order
    ),
    Case(
        "enhanced: a real MR whose functional groups were lost",
        found("emri_small.dcm"),
        series=("image series.geometry_invalid",),
    ),
    Case(
        "enhanced: a real CT of two frames",
        found("eCT_Supplemental.dcm"),
        series=("volume series.too_few_slices",),
    ),
    Case(
        "mosaic is refused by name",
        slices(each(ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])),
        series=("volume series.mosaic",),
    ),
    Case(
        "UIH grid is refused by name",
        slices(each(ImageType=["ORIGINAL", "PRIMARY", "VFRAME"])),
        series=("volume series.mosaic",),
    ),
    _tied_phases(
        slices(_twice(TemporalPositionIndex=(1, 1), TriggerTime=(0, 400))),
        "vendor contradiction: a temporal index that is constant is not believed",
    ),
    _tied_phases(
        slices(_twice(EchoTime=(10, 10), EchoNumbers=(1, 2))),
        "vendor contradiction: equal EchoTime, other EchoNumbers",
    ),
    Case("rescale differs by slice", slices(_slopes), series=_WHOLE, check=_scaled_per_slice),
    Case(
        "rescale of a real MR",
        found("MR2_UNCI.dcm"),
        series=_IMAGE,
        check=lambda inputs: _close_to(
            inputs,
            lambda: apply_modality_lut(_file("MR2_UNCI.dcm").pixel_array, _file("MR2_UNCI.dcm")),
        ),
    ),
    Case(
        "modality LUT is applied",
        found("mlut_18.dcm"),
        series=_IMAGE,
        check=_shows(
            lambda: apply_modality_lut(_file("mlut_18.dcm").pixel_array, _file("mlut_18.dcm"))
        ),
    ),
    Case("signed pixels, 14 bits, J2K", found("693_J2KI.dcm"), series=_IMAGE),
    Case(
        "signedness that the code stream denies", found("J2K_pixelrep_mismatch.dcm"), series=_IMAGE
    ),
    Case("padding is no value", slices(_padded), series=_WHOLE, check=_without_padding),
    Case(
        "VOI LUT is for display only",
        found("vlut_04.dcm"),
        series=_IMAGE,
        check=_shows(lambda: _file("vlut_04.dcm").pixel_array),
    ),
    Case(
        "MONOCHROME1 slices keep their values and say so",
        slices(each(PhotometricInterpretation="MONOCHROME1")),
        series=_WHOLE,
        check=_says("MONOCHROME1"),
    ),
    Case("palette", found("examples_palette.dcm"), series=_IMAGE, check=_unlike("indices")),
    Case(
        "palette of 16 bits", found("gdcm-US-ALOKA-16.dcm"), series=_IMAGE, check=_unlike("indices")
    ),
    Case("YBR of 30 frames", found("examples_ybr_color.dcm"), series=_IMAGE, check=_unlike("YBR")),
    Case(
        "YBR_FULL_422 uncompressed",
        found("SC_ybr_full_422_uncompressed.dcm"),
        series=_IMAGE,
        check=_unlike("YBR"),
    ),
    Case(
        "RGB by pixel",
        found("color-px.dcm"),
        series=_IMAGE,
        check=_shows(lambda: _file("color-px.dcm").pixel_array),
    ),
    Case(
        "RGB by plane",
        found("color-pl.dcm"),
        series=_IMAGE,
        check=_shows(lambda: _file("color-pl.dcm").pixel_array),
    ),
    Case("PET in SUV", slices(_pet()), series=_WHOLE, check=_suv),
    Case(
        "PET corrected to the time of injection needs no second correction",
        slices(_pet(DecayCorrection="ADMIN", PatientWeight="35")),
        series=_WHOLE,
        check=_suv_of_admin,
    ),
    *(
        Case(
            f"PET without {keyword}",
            slices(_pet(**{keyword: None})),
            series=("volume pixels.suv_unavailable",),
        )
        for keyword in ("PatientWeight", "DecayCorrection", "Units")
    ),
    *_syntaxes(),
    Case("deflated", found("image_dfl.dcm"), series=_IMAGE),
    Case("JPEG 2000, lossy", found("JPEG2000.dcm"), series=_IMAGE),
    Case(
        "JPEG-LS, near-lossless, of no study",
        found("JPEGLSNearLossless_16.dcm"),
        files=(Reason.FILE_UID_INVALID,),
    ),
    Case(
        "pixels with bytes after them",
        found("MR_small_padded.dcm"),
        files=(Reason.PIXELS_LENGTH_MISMATCH,),
    ),
    Case(
        "private sequences are passed over",
        found("nested_priv_SQ.dcm"),
        files=(Reason.FILE_BAD_HEADER,),
    ),
    Case("truncated pixels", found("MR_truncated.dcm"), files=(Reason.FILE_TRUNCATED,)),
    Case(
        "a truncated plan",
        found("rtplan_truncated.dcm"),
        files=(Reason.FILE_TRUNCATED,),
    ),
    Case("no meta", found("no_meta.dcm"), files=(Reason.FILE_NOT_DICOM,)),
    Case(
        "big endian without meta", found("ExplVR_BigEndNoMeta.dcm"), files=(Reason.FILE_NOT_IMAGE,)
    ),
    *(
        Case(f"no image: {name}", found(name), files=(Reason.FILE_NOT_IMAGE,))
        for name in ("test-SR.dcm", "rtplan.dcm", "rtstruct.dcm", "rtdose.dcm", "waveform_ecg.dcm")
    ),
    Case(
        "a table of contents",
        found("dicomdirtests/DICOMDIR"),
        files=(Reason.FILE_MEDIA_DIRECTORY,),
    ),
    Case("charset", slices(_charset), series=_WHOLE, check=in_order),
    Case("wrong VR", found("badVR.dcm"), files=(Reason.FILE_NOT_IMAGE,)),
    Case("a quadruped", slices(_animal), series=_WHOLE, check=_says("four legs")),
    Case(
        "feet first: positions are the patient's already",
        slices(each(PatientPosition="FFDL")),
        series=_WHOLE,
        check=in_order,
    ),
    Case(
        "bits that differ between the slices",
        slices(one(2, BitsStored=12, HighBit=11)),
        series=_WHOLE,
    ),
    Case(
        "image types that differ between the slices",
        slices(
            lambda made: each(ImageType=["DERIVED", "PRIMARY", "AXIAL"])(made[5:]),
            count=10,
        ),
        series=_WHOLE * 2,
    ),
    Case(
        "comma in a number",
        slices(raw("RescaleSlope", b"1,0")),
        series=("volume pixels.rescale_not_finite",),
    ),
)
