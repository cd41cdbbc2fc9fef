"""CT files whose headers look like those of a scanner: some 130 elements, sequences, private ones.

Only the header is written; the pixels are a hole in the file, of their full size. Per slice there
change what a scanner changes: UIDs, times, position, table, tube current, exposure.
"""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

_PIXELS = 512 * 512 * 2
_STUDY: dict[str, Any] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
    "StudyDate": "20240102",
    "SeriesDate": "20240102",
    "AcquisitionDate": "20240102",
    "ContentDate": "20240102",
    "StudyTime": "101112.345000",
    "SeriesTime": "101512.345000",
    "AccessionNumber": "A0000017",
    "Modality": "CT",
    "Manufacturer": "SIEMENS",
    "InstitutionName": "General Hospital",
    "InstitutionAddress": "1 Hospital Road",
    "ReferringPhysicianName": "Doe^Jane",
    "StationName": "CTAWP00001",
    "StudyDescription": "Thorax^Routine (Adult)",
    "SeriesDescription": "Thorax  1.0  B31f",
    "InstitutionalDepartmentName": "Radiology",
    "PerformingPhysicianName": "Roe^Richard",
    "OperatorsName": "Operator",
    "ManufacturerModelName": "SOMATOM Definition AS",
    "IrradiationEventUID": "1.3.12.2.1107.5.1.4.64.300000101112",
    "PatientName": "Synthetic^Patient",
    "PatientID": "P000017",
    "PatientBirthDate": "19600101",
    "PatientSex": "O",
    "PatientAge": "064Y",
    "PatientSize": "1.76",
    "PatientWeight": "78",
    "EthnicGroup": "",
    "AdditionalPatientHistory": "",
    "BodyPartExamined": "CHEST",
    "ScanOptions": "SPI",
    "SliceThickness": "1",
    "KVP": "120",
    "DataCollectionDiameter": "500",
    "DeviceSerialNumber": "64300",
    "SoftwareVersions": "syngo CT 2012B",
    "ProtocolName": "ThoraxRoutine",
    "ReconstructionDiameter": "380",
    "DistanceSourceToDetector": "1085.6",
    "DistanceSourceToPatient": "595",
    "GantryDetectorTilt": "0",
    "TableHeight": "156",
    "RotationDirection": "CW",
    "ExposureTime": "500",
    "FilterType": "0",
    "GeneratorPower": "38",
    "FocalSpots": "1.2",
    "DateOfLastCalibration": "20240101",
    "TimeOfLastCalibration": "060000.000000",
    "ConvolutionKernel": "B31f",
    "PatientPosition": "FFS",
    "SingleCollimationWidth": 0.6,
    "TotalCollimationWidth": 38.4,
    "TableSpeed": 76.0,
    "TableFeedPerRotation": 38.0,
    "SpiralPitchFactor": 1.0,
    "CTDIvol": 7.84,
    "StudyID": "1",
    "SeriesNumber": "3",
    "AcquisitionNumber": "4",
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "PositionReferenceIndicator": "",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": 512,
    "Columns": 512,
    "PixelSpacing": ["0.7421875", "0.7421875"],
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "SmallestImagePixelValue": 0,
    "WindowCenter": ["40", "-600"],
    "WindowWidth": ["400", "1200"],
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "WindowCenterWidthExplanation": ["WINDOW1", "WINDOW2"],
    "RequestingPhysician": "Doe^Jane",
    "RequestedProcedureDescription": "CT Thorax",
    "PerformedProcedureStepStartDate": "20240102",
    "PerformedProcedureStepStartTime": "101012.000000",
    "PerformedProcedureStepID": "7",
    "PerformedProcedureStepDescription": "Thorax^Routine (Adult)",
}


def make(folder: Path, *, series: int, slices: int) -> Path:
    """Write what is not there yet; return the folder, which holds one folder for each series."""
    root = folder / f"{series}x{slices}"
    complete = root.with_suffix(".complete")
    if not complete.exists():
        for number in range(series):
            _write(root / f"series{number:03d}", number, slices)
        complete.touch()
    return root


def _write(folder: Path, seed: int, slices: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = random.Random(seed)  # noqa: S311 - file names, no secrets
    dataset = _of_series(seed)
    for number in range(slices):
        _of_slice(dataset, seed, number)
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        with (folder / f"{names.getrandbits(64):016x}.dcm").open("wb") as file:
            file.write(buffer.getvalue())
            file.write(b"\xe0\x7f\x10\x00OW\0\0" + _PIXELS.to_bytes(4, "little"))
            file.truncate(file.tell() + _PIXELS)


def _of_series(seed: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    for keyword, value in _STUDY.items():
        setattr(dataset, keyword, value)
    dataset.SeriesNumber = seed + 1
    for level in ("Study", "Series"):
        setattr(dataset, f"{level}InstanceUID", generate_uid(entropy_srcs=[f"{level} {seed}"]))
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[f"frame {seed}"])
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTTHOR", "99HOSP", "CT Thorax"
    dataset.ProcedureCodeSequence = [code]
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    reference.ReferencedSOPInstanceUID = "1.3.12.2.1107.5.1.4.64.4"
    dataset.ReferencedStudySequence = [reference]
    dataset.ReferencedPerformedProcedureStepSequence = [reference]
    request = Dataset()
    request.ScheduledProcedureStepDescription, request.RequestedProcedureID = "CT Thorax", "7"
    dataset.RequestAttributesSequence = [request]
    for group, creator in (
        (0x0019, "SIEMENS CT VA0  COAD"),
        (0x0021, "SIEMENS MED"),
        (0x0029, "SIEMENS CSA HEADER"),
    ):
        block = dataset.private_block(group, creator, create=True)
        for element in range(10):
            block.add_new(element, "LO", f"private {element}")
        block.add_new(0x60, "OB", bytes(range(200)))
    return dataset


def _of_slice(dataset: Dataset, seed: int, number: int) -> None:
    uid = generate_uid(entropy_srcs=[f"slice {seed} {number}"])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.InstanceNumber = number + 1
    place = f"{-300.5 + number:g}"
    dataset.ImagePositionPatient = ["-189.62890625", "-345.62890625", place]
    dataset.SliceLocation = place
    dataset.TablePosition = -300.5 + number
    dataset.AcquisitionTime = f"1015{number // 60 % 60:02d}.{number * 8123 % 1000000:06d}"
    dataset.ContentTime = dataset.InstanceCreationTime = dataset.AcquisitionTime
    dataset.InstanceCreationDate = "20240102"
    dataset.XRayTubeCurrent = 80 + number * 37 % 150
    dataset.Exposure = 40 + number * 37 % 75
    dataset.LargestImagePixelValue = 1500 + number * 61 % 2500
    dataset.private_block(0x0019, "SIEMENS CT VA0  COAD").add_new(0x90, "DS", place)
