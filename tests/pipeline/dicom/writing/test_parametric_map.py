from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import config

from pipeline.dicom.writing.parametric_map import write_parametric_map
from pipeline.errors import StudyRejected
from pipeline.phantoms import ImageKind, ImageParameters, write_image
from pipeline.phantoms import image as image_phantom
from pipeline.reasons import Reason
from pipeline.results import Code, ValueMap
from tests.pipeline.dicom.segs import PROVENANCE, header_of, made_volume, read

SHAPE = (4, 5, 7)
PROBABILITY = Code(scheme="DCM", value="122157", meaning="Probability")


def heat(name: str = "Heat", scale: float = 1.0, code: Code | None = None) -> ValueMap:
    values = np.random.default_rng(5).normal(scale=scale, size=SHAPE).astype(np.float32)
    return ValueMap(name=name, values=values, code=code)


def test_every_float_is_kept_and_lies_where_the_source_lies() -> None:
    volume = made_volume(SHAPE)
    one = heat()
    (data,) = write_parametric_map(volume, [one], PROVENANCE)
    found = hd.imread(io.BytesIO(data)).get_volume()
    ours = hd.Volume(
        array=one.values,
        affine=volume.affine,
        coordinate_system="PATIENT",
        frame_of_reference_uid="1.2.3.9",
    )
    matched = found.match_geometry(ours)
    assert np.array_equal(matched.array, one.values)
    assert np.allclose(matched.affine, volume.affine, atol=1e-9)


def test_the_raw_pixels_are_the_values() -> None:
    one = heat()
    dataset = read(write_parametric_map(made_volume(SHAPE), [one], PROVENANCE)[0])
    stored = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(SHAPE)
    assert np.array_equal(stored, one.values)
    assert (dataset.BitsAllocated, "BitsStored" in dataset) == (32, False)


def test_pydicom_finds_no_fault_when_strict() -> None:
    (data,) = write_parametric_map(made_volume(SHAPE), [heat()], PROVENANCE)
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.RAISE
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        dataset.decode()
    finally:
        config.settings.reading_validation_mode = before
    assert dataset.SOPClassUID.name == "Parametric Map Storage"


def test_a_value_means_itself_in_its_unit_of_its_quantity() -> None:
    one = replace(heat(code=PROBABILITY), unit="mm2/s")
    dataset = read(write_parametric_map(made_volume(SHAPE), [one], PROVENANCE)[0])
    mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == one.values.min()
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == one.values.max()
    unit = mapping.MeasurementUnitsCodeSequence[0]
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("mm2/s", "UCUM")
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (quantity.CodeValue, quantity.CodingSchemeDesignator) == ("122157", "DCM")


def test_a_map_without_a_code_is_named_in_a_scheme_of_our_own() -> None:
    dataset = read(
        write_parametric_map(made_volume(SHAPE), [heat("Grad-CAM of lung")], PROVENANCE)[0]
    )
    mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert quantity.CodingSchemeDesignator == "99NIGHTSHIFT"
    assert (quantity.CodeValue, quantity.CodeMeaning) == ("GRAD-CAM-OF-LUNG", "Grad-CAM of lung")


def test_maps_whose_names_begin_alike_have_codes_of_their_own() -> None:
    maps = [heat(f"integrated-gradients of {label}") for label in ("lesion", "no lesion")]
    values = set()
    for data in write_parametric_map(made_volume(SHAPE), maps, PROVENANCE):
        mapping = read(data).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
        values.add(quantity.CodeValue)
    assert len(values) == 2


def test_maps_of_one_step_are_instances_of_one_series_and_always_the_same_bytes() -> None:
    volume = made_volume(SHAPE)
    maps = [heat("one"), heat("other", scale=3.0)]
    files = write_parametric_map(volume, maps, PROVENANCE)
    assert files == write_parametric_map(volume, maps, PROVENANCE)
    first, second = map(read, files)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)


def test_every_frame_refers_to_its_slice() -> None:
    volume = made_volume(SHAPE)
    dataset = read(write_parametric_map(volume, [heat()], PROVENANCE)[0])
    assert volume.header is not None
    for instance, group in zip(
        volume.header.instances, dataset.PerFrameFunctionalGroupsSequence, strict=True
    ):
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID == instance.sop_instance_uid
        assert image.SpatialLocationsPreserved == "YES"
    region = dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]
    assert region.AnatomicRegionSequence[0].CodeValue == "51185008"


def test_a_constant_map_is_shown_with_a_window_of_positive_width() -> None:
    one = ValueMap(name="Flat", values=np.full(SHAPE, 0.25, np.float32))
    dataset = read(write_parametric_map(made_volume(SHAPE), [one], PROVENANCE)[0])
    window = dataset.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (0.25, 1)


def test_what_cannot_be_right_is_refused() -> None:
    volume, one = made_volume(SHAPE), heat()
    with pytest.raises(ValueError, match="header"):
        write_parametric_map(replace(volume, header=None), [one], PROVENANCE)
    with pytest.raises(ValueError, match="has shape"):
        write_parametric_map(made_volume((4, 7, 5)), [one], PROVENANCE)
    one.values[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        write_parametric_map(volume, [one], PROVENANCE)


def test_an_image_without_a_place_in_the_patient_is_refused(tmp_path: Path) -> None:
    phantom = image_phantom(ImageParameters(kind=ImageKind.US, shape=(48, 40), frames=3))
    header = header_of(write_image(phantom, tmp_path).paths)
    one = ValueMap(name="Heat", values=np.zeros((3, 48, 40), np.float32))
    with pytest.raises(StudyRejected, match="place") as refused:
        write_parametric_map(replace(phantom.image, header=header), [one], PROVENANCE)
    assert refused.value.reason is Reason.SERIES_NO_PLACE
