"""A marker in everything that can be written: none of it may come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import SegmentationStorage

from pipeline.deidentify import identity
from pipeline.deidentify.identity_map import IdentityMap
from pipeline.deidentify.keys import Key
from pipeline.deidentify.profile import Option, Treatment, rules
from tests.pipeline.deidentify.copies import copied, copied_folder, items, method
from tests.pipeline.dicom import made_series

MARKER = "ZQCANARYQZ"
#: also as UTF-16, as digits of a date, and inside a longer word
FORMS = (MARKER.encode(), MARKER.lower().encode(), MARKER.encode("utf-16-le"), b"19230417")
TEXTS = ("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR", "CS")
#: attributes whose value must be what it is for the file to be one
STRUCTURE = {"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}
KEEP_MOST = (
    *(Option.MODIFIED_DATES, Option.PATIENT_CHARACTERISTICS, Option.DEVICE_IDENTITY),
    *(Option.INSTITUTION_IDENTITY, Option.SAFE_PRIVATE, Option.CLEAN_DESCRIPTORS),
    *(Option.CLEAN_STRUCTURED_CONTENT, Option.CLEAN_GRAPHICS),
)


def every_text() -> Dataset:
    """Return a data set with the marker in every element of the dictionary that holds text."""
    made = Dataset()
    for number in DicomDictionary:
        tag = Tag(number)
        vr = dictionary_VR(tag)
        is_outer = tag.group in (0x0000, 0x0002, 0x0004, 0xFFFE, 0x7FE0)
        if is_outer or tag.element == 0 or tag == Tag("SpecificCharacterSet"):
            continue
        if vr in TEXTS:
            made.add(DataElement(tag, vr, MARKER))
        elif vr == "DA":
            made.add(DataElement(tag, vr, "19230417"))
        elif vr == "DT":
            made.add(DataElement(tag, vr, "19230417101112"))
        elif vr in ("OB", "UN"):
            made.add(DataElement(tag, vr, MARKER.encode()))
    return made


def few_texts() -> Dataset:
    """Return an item with the marker in an element of each kind that items hold."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = MARKER, MARKER, MARKER
    item.PersonName, item.TextValue, item.PatientID = MARKER, MARKER, MARKER
    item.Manufacturer, item.SegmentLabel, item.ImageComments = MARKER, MARKER, MARKER
    item.RetrieveAETitle, item.StudyDate, item.ROIName = MARKER, "19230417", MARKER
    return item


def marked() -> Dataset:
    """Return a CT slice that carries the marker everywhere: nested, private, overlays, meta."""
    dataset = made_series.instance(0)
    sound = {element.tag: element for element in dataset}
    for element in every_text():
        if element.tag not in sound:
            dataset.add(element)
    dataset.PatientName, dataset.PatientID = f"{MARKER}^Erika", f"{MARKER}-1"
    dataset.PatientBirthDate = "19230417"
    dataset.BurnedInAnnotation = "NO"
    dataset.ConversionType = None
    dataset.SharedFunctionalGroupsSequence = [every_text()]
    for number in DicomDictionary:
        tag = Tag(number)
        if dictionary_VR(tag) == "SQ" and tag.group != 0x0004 and tag not in dataset:
            dataset.add(DataElement(tag, "SQ", Sequence([few_texts(), few_texts()])))
    dataset.DerivationImageSequence[0].SourceImageSequence = [few_texts()]
    block = dataset.private_block(0x0019, MARKER, create=True)
    block.add_new(0x01, "LO", MARKER)
    block.add_new(0x02, "UN", MARKER.encode())
    safe = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    safe.add_new(0x0E, "LO", MARKER)
    dataset.add_new(0x60003000, "OW", np.zeros(8, np.uint8).tobytes() + MARKER.encode())
    dataset.add_new(0x60004000, "LT", MARKER)
    dataset.add_new(0x50000022, "LO", MARKER)
    dataset.file_meta.SourceApplicationEntityTitle = MARKER
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = MARKER.encode()
    dataset.preamble = (MARKER * 20).encode()[:128]
    return dataset


@pytest.mark.parametrize("options", [(), KEEP_MOST], ids=["basic", "keep most"])
def test_no_marker_comes_out_of_a_study_that_is_full_of_it(
    options: tuple[Option, ...], tmp_path: Path
) -> None:
    source, out = tmp_path / MARKER, tmp_path / "out"
    source.mkdir()
    dcmwrite(source / f"{MARKER}.dcm", marked(), enforce_file_format=True)
    (source / f"{MARKER}.txt").write_text(MARKER)
    report = copied_folder(source, out, method(*options))
    assert report.counts == {"file.not_dicom": 1, "ok": 1}
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        content = path.read_bytes()
        assert not [form for form in FORMS if form in content], path.name
        assert MARKER not in str(path.relative_to(out))
    assert MARKER not in repr(report)


def test_free_text_that_names_nobody_stays_only_where_the_table_says_so(tmp_path: Path) -> None:
    dataset = every_text()
    for element in list(dataset):
        if element.VR == "PN" or element.keyword in (
            *identity._IDS,
            *identity._WORDED,
            *identity._INSTITUTIONS,
        ):
            del dataset[element.tag]
    for element in made_series.instance(0):
        dataset[element.tag] = element
    dataset.PatientName, dataset.PatientID = "Somebody^Else", "4711-0815"
    dataset.BurnedInAnnotation = "NO"
    dataset.ConversionType = None
    made_series.with_meta(dataset)
    copy = copied(dataset, tmp_path)
    table = rules(frozenset())
    kept = [e for item in items(copy) for e in item if MARKER in str(e.value)]
    assert kept
    for element in kept:
        assert table[int(element.tag)].treatment is Treatment.KEEP
        assert element.VR in ("CS", "LO", "SH", "LT"), element.keyword
    told = {element.keyword for element in kept if element.VR != "CS"}
    assert "StudyDescription" not in told
    assert told <= {
        *("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel"),
        *("SequenceName", "PulseSequenceName", "RescaleType", "ModalityLUTType", "LUTLabel"),
        *("WindowCenterWidthExplanation", "LUTExplanation", "ReceiveCoilName"),
        *("ReceiveCoilManufacturerName", "TransmitCoilName", "TransmitCoilManufacturerName"),
        *("MultiCoilElementName", "MultiCoilConfiguration", "FilterType", "CollimatorGridName"),
        *("ContrastBolusRoute", "Radiopharmaceutical", "RadiopharmaceuticalRoute"),
        *("AttenuationCorrectionMethod", "ReconstructionMethod", "ScatterCorrectionMethod"),
        *("DetectorLinesOfResponseUsed", "ImagedNucleus", "TypeOfFilters", "PhosphorType"),
        *("StackID", "DimensionDescriptionLabel", "EnergyWindowName", "ViewName", "StageName"),
        *("AlgorithmName", "AlgorithmVersion", "SegmentLabel", "SegmentAlgorithmName"),
        *("PositionReferenceIndicator", "OpticalPathIdentifier", "TransducerData", "OutputPower"),
        *("DetectorMode", "ImageFilter", "CardiacFramingType", "PVCRejection", "PlateType"),
        *("TriggerSourceOrType", "GridAbsorbingMaterial", "GridSpacingMaterial"),
        *("DetectorManufacturerName", "DetectorManufacturerModelName", "SourceIsotopeName"),
        *("DigitalImageFormatAcquired", "SecondaryCaptureDeviceManufacturer"),
        *("SecondaryCaptureDeviceManufacturerModelName", "ManufacturerModelVersion"),
        *("SecondaryCaptureDeviceSoftwareVersions", "ProcessingFunction", "MaterialID"),
        *("ASLCrusherDescription", "InterventionDrugName", "SetupDeviceLabel", "TemplateType"),
        "MappingResourceName",
    }


def test_codes_of_the_house_and_their_meanings_become_others(tmp_path: Path) -> None:
    dataset = made_series.instance(0)
    local, known, other = Dataset(), Dataset(), Dataset()
    local.CodeValue, local.CodingSchemeDesignator = "THX-7", "99HOUSE"
    local.CodeMeaning = "Thorax for Dr. Miller"
    known.CodeValue, known.CodingSchemeDesignator = "51185008", "SCT"
    known.CodeMeaning = "Miller's chest"
    other.CodeValue, other.CodingSchemeDesignator = "999999999", "SCT"
    other.CodeMeaning = "Miller's other chest"
    dataset.ProcedureCodeSequence = [local, known, other]
    first = copied(dataset, tmp_path / "1").ProcedureCodeSequence
    again = copied(dataset, tmp_path / "2").ProcedureCodeSequence
    assert first[0].CodingSchemeDesignator == "99REMOVED"
    assert first[0].CodeValue != "THX-7"
    assert first[0].CodeValue == again[0].CodeValue
    assert first[1].CodeMeaning == "Thoracic structure (body structure)"
    assert first[1].CodeValue == "51185008"
    assert first[2].CodeValue == "999999999"
    assert "Miller" not in str(first)


def test_the_identity_map_and_the_key_show_nothing_of_the_patient(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    dcmwrite(source / "1.dcm", marked(), enforce_file_format=True)
    identities, key = IdentityMap(), Key(bytes(range(32)))
    copied_folder(source, tmp_path / "out", method(key=key), identities=identities)
    assert any(MARKER in str(module) for module in identities.patients.values())
    identities.write(tmp_path / "map", key)
    assert not [form for form in FORMS if form in (tmp_path / "map").read_bytes()]
    assert (tmp_path / "map").stat().st_mode & 0o077 == 0
    assert repr(key) == "Key()"


def test_everything_identifying_stays_out_of_implicit_and_big_endian_files_too(
    tmp_path: Path,
) -> None:
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"):
        dataset = marked()
        dataset.file_meta.TransferSyntaxUID = syntax
        folder = tmp_path / syntax
        copy = copied(dataset, folder)
        assert copy.file_meta.TransferSyntaxUID == syntax
        content = (folder / "out.dcm").read_bytes()
        assert not [form for form in FORMS if form in content]
        assert content[:128] == bytes(128)


def test_the_marker_is_where_the_test_says_it_is(tmp_path: Path) -> None:
    dcmwrite(tmp_path / "in.dcm", marked(), enforce_file_format=True)
    content = (tmp_path / "in.dcm").read_bytes()
    assert content.count(MARKER.encode()) > 1000
    again = dcmread(tmp_path / "in.dcm")
    assert tag_for_keyword("PatientName") in again
    assert {element.keyword for element in again} >= STRUCTURE
    assert SegmentationStorage not in str(again.SOPClassUID)
