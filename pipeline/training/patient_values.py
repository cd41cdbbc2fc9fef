"""What a manifest says of a patient, put where a model in use looks for it: into the header."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.training.manifest.cases import Value
from pipeline.volume import Channels, Image, SourceHeader, SourceInstance, Volume

_Image = TypeVar("_Image", bound=Volume | Image)
#: the attributes that a manifest may state (PS3.3 C.7.2.2)
_KEYWORDS: Final[Mapping[str, str]] = {
    "age": "PatientAge",
    "sex": "PatientSex",
    "weight": "PatientWeight",
    "size": "PatientSize",
}
#: units of an age (PS3.5 6.2, VR AS), the finest first, and how many are in a year
_UNITS: Final = (("D", 365.25), ("W", 365.25 / 7), ("M", 12.0), ("Y", 1.0))
_MOST_UNITS: Final = 999


def stating_all(series: Channels, values: Mapping[str, Value], *, modality: str) -> Channels:
    """Return series the first of which states these values of their patient: see ``stating``."""
    first, *others = series.volumes
    return replace(series, volumes=(stating(first, values, modality=modality), *others))


def stating(image: _Image, values: Mapping[str, Value], *, modality: str) -> _Image:
    """Return an image whose header states these values of its patient.

    Args:
        image: with a header or without.
        values: age in years, sex (F, M, O), weight in kg, size in m; what is None is as the header
            says.
        modality: of an image without a header.

    """
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return image
    header = image.header or _blank(image, modality)
    dataset = dcmread(io.BytesIO(header.template), force=True) if header.template else Dataset()
    for name, value in known.items():
        setattr(dataset, _KEYWORDS[name], _element(name, value))
    return replace(image, header=replace(header, template=_encoded(dataset)))


def _blank(image: Volume | Image, modality: str) -> SourceHeader:
    count = image.stored.shape[0] if isinstance(image, Volume) else 1
    return SourceHeader(
        template=b"",
        instances=(SourceInstance(sop_class_uid="", sop_instance_uid=""),) * count,
        study_instance_uid="",
        series_instance_uid="",
        frame_of_reference_uid=None,
        modality=modality,
    )


def _element(name: str, value: float | str) -> Any:
    if name == "age":
        return _age(float(value))
    return value if name == "sex" else f"{value:.8g}"


def _age(years: float) -> str:
    """Return an age as DICOM states it, in the finest unit that holds it."""
    counts = [(round(years * a_year), unit) for unit, a_year in _UNITS]
    count, unit = next((one for one in counts if one[0] <= _MOST_UNITS), counts[-1])
    return f"{count:03d}{unit}"


def _encoded(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset)
    return buffer.getvalue()
