"""Which images may show the patient's name in their pixels, judged by what made them."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import integer_of, text_of, texts_of

#: devices that write on their images, cameras, and what is photographed, scanned or captured
_MODALITIES: Final = frozenset(
    {
        *("US", "IVUS", "SC", "XC", "ES", "OT", "DG", "GM", "SM", "OP", "OPT", "OSS", "TG"),
        *("DF", "DD", "DMS", "EPS", "HC", "LS", "BI", "CF", "AR", "DOC", "VF", ""),
    }
)
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1"
_CAPTURED: Final = (f"{_STORAGE}.7", f"{_STORAGE}.77.")
#: of Conversion Type (PS3.3 C.8.6.1): digitised film and video, scanned documents, captures
_CONVERSIONS: Final = frozenset({"DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"})
_REPORTS: Final = (
    *("SCREEN", "DOSE", "REPORT", "PROTOCOL", "CAPTURE", "SUMMARY", "SECONDARY", "POSDISP"),
    *("GRAPH", "TABLE", "TEXT", "PRINT", "3D", "MPR_CUR", "VRT", "RENDER", "OVERLAY"),
)
_SHEETS: Final = ("dose", "report", "protocol", "screen", "summary", "capture")
#: pixels that a program computed from others: there is nothing a device could have written
_COMPUTED: Final = (f"{_STORAGE}.66.", f"{_STORAGE}.30", f"{_STORAGE}.481.2")


def risk_of(dataset: Dataset) -> str | None:
    """Say in a sentence why the pixels may show who the patient is; None where nothing says so.

    ``BurnedInAnnotation`` NO is taken at its word only where nothing but ImageType speaks
    against it: devices that write on images say NO as readily as others.
    """
    stated = text_of(dataset, "BurnedInAnnotation").upper()
    if stated == "YES":
        return "it states that text is burned into its pixels"
    if text_of(dataset, "SOPClassUID").startswith(_COMPUTED):
        return None
    return _risk_of_device(dataset) or _risk_of_kind(dataset, is_denied=stated == "NO")


def _risk_of_device(dataset: Dataset) -> str | None:
    modality = text_of(dataset, "Modality").upper()
    if modality in _MODALITIES:
        # Only words of the standard are quoted: a modality may be anything.
        return f"devices of modality {modality or '(none)'} write text into their pixels"
    if text_of(dataset, "SOPClassUID").startswith(_CAPTURED):
        return "it is a capture or a photograph"
    if set(texts_of(dataset, "ConversionType")) & _CONVERSIONS:
        return "it was digitised, captured or drawn"
    return None


def _risk_of_kind(dataset: Dataset, *, is_denied: bool) -> str | None:
    if _is_colour(dataset):
        return "it is a colour image of a device that makes grey ones"
    if _names_a_sheet(dataset):
        return "it is described as a sheet of text"
    words = " ".join(texts_of(dataset, "ImageType")).upper()
    if not is_denied and any(word in words for word in _REPORTS):
        return "its ImageType is that of a capture, a report or a rendering"
    return None


def _is_colour(dataset: Dataset) -> bool:
    samples = integer_of(dataset, "SamplesPerPixel") or 1
    return samples > 1 or text_of(dataset, "PhotometricInterpretation") == "PALETTE COLOR"


def _names_a_sheet(dataset: Dataset) -> bool:
    said = text_of(dataset, "SeriesDescription").lower()
    return any(word in said for word in _SHEETS)
