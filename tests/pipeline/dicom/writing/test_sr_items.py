"""Encoded content items are, byte for byte, those that highdicom builds and pydicom writes."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from pipeline.dicom.writing import elements, sr_items

CONTEXT = hd.sr.RelationshipTypeValues.HAS_ACQ_CONTEXT
CONTAINS = hd.sr.RelationshipTypeValues.CONTAINS
MM = Code("mm", "UCUM", "millimeter")
NAME = codes.DCM.HorizontalPixelSpacing
CT, ONE = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.45"


def written(item: Dataset) -> bytes:
    return elements.item(elements.of_dataset(item))


def number(value: float) -> bytes:
    return sr_items.number(sr_items.number_name(NAME), value, sr_items.number_unit(MM))


@pytest.mark.parametrize(
    "value",
    [
        *(0.0, 0.78125, -700 / 3, 1e-7, -123456.789012345678),
        *np.random.default_rng(0).normal(scale=300, size=50).round(6).tolist(),
    ],
)
def test_a_number(value: float) -> None:
    assert number(value) == written(hd.sr.NumContentItem(NAME, value, MM, None, CONTEXT))


def test_a_whole_number_is_written_as_one() -> None:
    assert number(512).endswith(b"DS\x04\x00512 ")


def test_a_code() -> None:
    name, value = codes.DCM.Modality, codes.cid29.ComputedTomography
    assert sr_items.code(name, value) == written(hd.sr.CodeContentItem(name, value, CONTEXT))


@pytest.mark.parametrize("uid", ["1.2.3.45", "1.2.3.456"])
def test_a_uid(uid: str) -> None:
    name = codes.DCM.FrameOfReferenceUID
    assert sr_items.uid(name, uid) == written(hd.sr.UIDRefContentItem(name, uid, CONTEXT))


def test_images_in_a_container() -> None:
    name, reference = sr_items.image_name(codes.DCM.SourceImage), sr_items.instance(CT, ONE)
    encoded = sr_items.container(
        codes.DCM.ImageLibrary,
        sr_items.image(name, reference),
        sr_items.image(name, reference, number(2.5)),
    )
    images = [
        hd.sr.ImageContentItem(codes.DCM.SourceImage, CT, ONE, relationship_type=CONTAINS)
        for _ in range(2)
    ]
    place = hd.sr.NumContentItem(NAME, 2.5, MM, relationship_type=CONTEXT)
    images[1].ContentSequence = hd.sr.ContentSequence([place])
    container = hd.sr.ContainerContentItem(codes.DCM.ImageLibrary, relationship_type=CONTAINS)
    container.ContentSequence = hd.sr.ContentSequence(images)
    assert encoded == written(container)


def test_evidence_is_listed_by_series() -> None:
    encoded = sr_items.evidence(
        "1.2.3", {"1.2.3.4": [sr_items.instance(CT, ONE)] * 2, "1.2.3.55": []}
    )
    instance, series, study, whole = Dataset(), [Dataset(), Dataset()], Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = CT, ONE
    series[0].SeriesInstanceUID, series[1].SeriesInstanceUID = "1.2.3.4", "1.2.3.55"
    series[0].ReferencedSOPSequence, series[1].ReferencedSOPSequence = [instance, instance], []
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.2.3", series
    whole.CurrentRequestedProcedureEvidenceSequence = [study]
    assert encoded == elements.of_dataset(whole)


def test_text_is_written_as_utf_8() -> None:
    text = hd.sr.TextContentItem(NAME, "Größe µ", CONTEXT)
    assert "Größe µ".encode() in elements.of_dataset(text)
