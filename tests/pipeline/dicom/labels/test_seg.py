"""Segmentations back onto their volume: ours to the bit, others where their own writers say."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from pipeline.dicom.labels.label_read import Wanted
from pipeline.dicom.labels.options import Options
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.seg_fractional import write_fractional_seg
from pipeline.errors import StudyRejected
from pipeline.phantoms import chest
from pipeline.reasons import Reason
from pipeline.results import Code, ValueMap
from pipeline.volume import Regridding, Volume
from tests.data import shared
from tests.pipeline.dicom.labels.made_labels import read_bytes, read_file
from tests.pipeline.dicom.made_series import read_volume
from tests.pipeline.dicom.segs import PROVENANCE, SMALL, on_disk, segment, turned
from tests.pipeline.dicom.segs import oblique as oblique_axes
from tests.pipeline.dicom.series import made_frames

LUNG = Code(scheme="SCT", value="39607008", meaning="Lung")


def scattered(seed: int) -> NDArray[np.uint8]:
    """Three labels without any symmetry, and one slice without any."""
    label_map = np.random.default_rng(seed).integers(0, 4, SMALL.shape).astype(np.uint8)
    label_map[1] = 0
    return label_map


def refused(read: Callable[[], object]) -> Reason:
    with pytest.raises(StudyRejected) as caught:
        read()
    return caught.value.reason


@pytest.fixture
def source(tmp_path: Path) -> Volume:
    return on_disk(chest(SMALL), tmp_path / "series")


def written(source: Volume, label_map: NDArray[np.uint8], encoding: Encoding) -> bytes:
    segments = [segment(1, "One"), segment(2, "Two", LUNG), segment(3, "Three")]
    return write_seg(source, label_map, segments, PROVENANCE, encoding=encoding)


WANTED = tuple(Wanted(number=n, name=name) for n, name in enumerate(("one", "TWO", "Three"), 1))


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("seed", range(6))
def test_what_is_written_is_read_back_to_the_bit(
    seed: int, encoding: Encoding, tmp_path: Path
) -> None:
    phantom = turned(chest(SMALL), oblique_axes()[seed], np.array([-31.25, 12.5, 77.0]))
    source = on_disk(phantom, tmp_path / "series")
    label_map = scattered(seed)
    read = read_bytes(tmp_path, written(source, label_map, encoding), source)
    assert np.array_equal(read.label_map(WANTED), label_map)
    assert [region.number for region in read.regions] == [1, 2, 3]
    assert read.warnings == ()


def test_the_real_reader_and_writer_agree(tmp_path: Path) -> None:
    from pipeline.phantoms import write_series

    write_series(chest(replace(SMALL, rotation=(15.0, -10.0, 25.0))), tmp_path / "series")
    source = read_volume(tmp_path / "series")
    label_map = scattered(3)
    read = read_bytes(tmp_path, written(source, label_map, Encoding.BINARY), source)
    assert np.array_equal(read.label_map(WANTED), label_map)


def test_a_label_is_found_by_text_or_by_code(source: Volume, tmp_path: Path) -> None:
    data = written(source, scattered(1), Encoding.BINARY)
    by_code = Wanted(number=7, name="Pulmo", code=replace(LUNG, meaning="anything"))
    read = read_bytes(tmp_path, data, source, Options(wanted=(by_code,)))
    assert [region.name for region in read.regions] == ["Two"]
    assert np.array_equal(read.label_map([by_code]) == 7, scattered(1) == 2)


def test_a_label_of_the_old_snomed_scheme_is_found_by_the_new(tmp_path: Path) -> None:
    from pipeline.dicom.labels.label_read import answering

    liver = Wanted(number=1, name="x", code=Code(scheme="SCT", value="10200004", meaning="Liver"))
    old = Code(scheme="SRT", value="T-62000", meaning="Liver")
    assert answering("Hepar", [old], [liver]) is liver


def test_a_label_that_is_not_there_is_a_mismatch(source: Volume, tmp_path: Path) -> None:
    read = read_bytes(tmp_path, written(source, scattered(1), Encoding.BINARY), source)
    assert refused(lambda: read.label_map([Wanted(number=1, name="Spleen")])) is (
        Reason.LABEL_MISMATCH
    )


def test_frames_in_any_order_lie_where_they_say(source: Volume, tmp_path: Path) -> None:
    label_map = scattered(2)
    dataset = pydicom.dcmread(io.BytesIO(written(source, label_map, Encoding.BINARY)))
    order = np.random.default_rng(0).permutation(int(dataset.NumberOfFrames))
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    dataset.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
    pixels = dataset.pixel_array[order]
    dataset.PixelData = pydicom.pixels.utils.pack_bits(pixels)
    read = read_bytes(tmp_path, encoded(dataset), source)
    assert np.array_equal(read.label_map(WANTED), label_map)


def encoded(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def by_highdicom(source: Volume, array: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    """A segmentation on any grid of the source's frame of reference, written by highdicom."""
    from pipeline.dicom.writing.source_images import source_dataset

    assert source.header is not None
    images = [source_dataset(source.header, one) for one in source.header.instances]
    kind = "FRACTIONAL" if array.dtype.kind == "f" else "BINARY"
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="One",
        segmented_property_category=hd.sr.CodedConcept("85756007", "SCT", "Tissue"),
        segmented_property_type=hd.sr.CodedConcept("85756007", "SCT", "Tissue"),
        algorithm_type="MANUAL",
    )
    pixels = hd.Volume(
        array=array,
        affine=affine,
        coordinate_system="PATIENT",
        frame_of_reference_uid=images[0].FrameOfReferenceUID,
    )
    return encoded(
        hd.seg.Segmentation(
            source_images=images,
            pixel_array=pixels,
            segmentation_type=kind,
            segment_descriptions=[description],
            series_instance_uid="1.2.3.55",
            series_number=1,
            sop_instance_uid="1.2.3.55.1",
            instance_number=1,
            manufacturer="M",
            manufacturer_model_name="M",
            software_versions="1",
            device_serial_number="1",
        )
    )


ONE = (Wanted(number=1, name="One"),)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_axes_that_run_otherwise_are_turned(
    axes: tuple[int, ...], flips: tuple[int, ...], tmp_path: Path
) -> None:
    source = on_disk(chest(replace(SMALL, spacing=(1.7, 1.7, 1.7))), tmp_path / "series")
    mask = scattered(4) == 1
    turned_mask = np.flip(mask.transpose(axes), flips)
    affine = source.affine.copy()
    affine[:3, :3] = source.affine[:3, :3][:, axes]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (turned_mask.shape[axis] - 1)
        affine[:3, axis] *= -1
    data = by_highdicom(source, turned_mask.astype(np.uint8), affine)
    read = read_bytes(tmp_path, data, source)
    assert np.array_equal(read.label_map(ONE) == 1, mask)


def test_a_crop_lies_where_it_was_cut_out(source: Volume, tmp_path: Path) -> None:
    mask = np.zeros(SMALL.shape, np.uint8)
    mask[1:4, 10:20, 5:9] = 1
    affine = source.affine.copy()
    affine[:3, 3] = source.to_patient(np.array([1.0, 10.0, 5.0]))
    data = by_highdicom(source, mask[1:4, 10:20, 5:9], affine)
    assert np.array_equal(read_bytes(tmp_path, data, source).label_map(ONE), mask)


def test_labels_outside_of_the_image_are_refused_not_cut_off(
    source: Volume, tmp_path: Path
) -> None:
    affine = source.affine.copy()
    affine[:3, 3] = source.to_patient(np.array([0.0, -1.0, 0.0]))
    data = by_highdicom(source, np.ones((3, 5, 5), np.uint8), affine)
    assert refused(lambda: read_bytes(tmp_path, data, source)) is Reason.LABEL_MISMATCH


@pytest.mark.parametrize("shift", [(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.3)])
def test_a_grid_off_by_a_part_of_a_voxel_is_refused(
    shift: tuple[float, float, float], source: Volume, tmp_path: Path
) -> None:
    affine = source.affine.copy()
    affine[:3, 3] = source.to_patient(np.add(shift, (1.0, 2.0, 2.0)))
    data = by_highdicom(source, np.ones((2, 5, 5), np.uint8), affine)
    assert refused(lambda: read_bytes(tmp_path, data, source)) is Reason.LABEL_MISMATCH


def test_another_spacing_is_refused_unless_resampling_is_asked_for(
    source: Volume, tmp_path: Path
) -> None:
    """Every voxel of the source holds eight of the finer grid, all with its label."""
    coarse = scattered(5) == 1
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = source.affine.copy()
    affine[:3, :3] /= 2
    affine[:3, 3] = source.to_patient(np.full(3, -0.25))
    data = by_highdicom(source, fine.astype(np.uint8), affine)
    assert refused(lambda: read_bytes(tmp_path, data, source)) is Reason.LABEL_MISMATCH
    read = read_bytes(tmp_path, data, source, Options(resample=True))
    assert np.array_equal(read.label_map(ONE) == 1, coarse)
    assert any("another grid" in sentence for sentence in read.warnings)


def test_every_second_slice_is_another_grid_not_a_label_with_holes(
    source: Volume, tmp_path: Path
) -> None:
    affine = source.affine.copy()
    affine[:3, 0] *= 2
    data = by_highdicom(source, np.ones((3, *SMALL.shape[1:]), np.uint8), affine)
    assert refused(lambda: read_bytes(tmp_path, data, source)) is Reason.LABEL_MISMATCH


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_fractions_are_inside_from_a_threshold_on(
    threshold: float, source: Volume, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 256, SMALL.shape)
    data = by_highdicom(source, values / 255.0, source.affine)
    read = read_bytes(tmp_path, data, source, Options(threshold=threshold))
    assert np.array_equal(read.label_map(ONE) == 1, values >= threshold * 255)


def test_another_frame_of_reference_is_a_mismatch(source: Volume, tmp_path: Path) -> None:
    assert source.header is not None
    data = written(source, scattered(1), Encoding.BINARY)
    others = tuple(
        replace(one, sop_instance_uid=f"{one.sop_instance_uid}.9")
        for one in source.header.instances
    )
    elsewhere = replace(source.header, frame_of_reference_uid="1.2.9", instances=others)
    onto = replace(source, header=elsewhere)
    assert refused(lambda: read_bytes(tmp_path, data, onto)) is Reason.LABEL_MISMATCH
    renamed = replace(source, header=replace(source.header, frame_of_reference_uid="1.2.9"))
    assert len(read_bytes(tmp_path, data, renamed).warnings) == 1


def test_a_frame_at_another_slice_than_its_source_is_a_mismatch(
    source: Volume, tmp_path: Path
) -> None:
    assert source.header is not None
    data = written(source, scattered(1), Encoding.BINARY)
    swapped = replace(source.header, instances=source.header.instances[::-1])
    onto = replace(source, header=swapped)
    assert refused(lambda: read_bytes(tmp_path, data, onto)) is Reason.LABEL_MISMATCH


@pytest.mark.parametrize("keeps_references", [True, False])
def test_a_frame_without_a_place_lies_on_the_image_it_names(
    keeps_references: bool,  # noqa: FBT001 - given by pytest
    source: Volume,
    tmp_path: Path,
) -> None:
    label_map = scattered(6)
    dataset = pydicom.dcmread(io.BytesIO(written(source, label_map, Encoding.BINARY)))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
        if not keeps_references:
            del group.DerivationImageSequence
    if keeps_references:
        read = read_bytes(tmp_path, encoded(dataset), source)
        assert np.array_equal(read.label_map(WANTED), label_map)
    else:
        assert refused(lambda: read_bytes(tmp_path, encoded(dataset), source)) is (
            Reason.LABEL_MISMATCH
        )


def test_words_of_the_other_byte_order_hold_the_same_bits(source: Volume, tmp_path: Path) -> None:
    label_map = scattered(8)
    dataset = pydicom.dcmread(io.BytesIO(written(source, label_map, Encoding.BINARY)))
    swapped = np.frombuffer(dataset.PixelData, ">u2").byteswap().tobytes()
    dataset["PixelData"] = DataElement("PixelData", "OW", swapped)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False)
    read = read_bytes(tmp_path, buffer.getvalue(), source)
    assert np.array_equal(read.label_map(WANTED), label_map)


def test_frames_of_one_instance_are_its_slices(tmp_path: Path) -> None:
    """An enhanced CT whose frames are in no spatial order."""
    places = made_frames.shuffled(made_frames.line(6), 3)
    folder = made_frames.write(tmp_path / "series", made_frames.enhanced(places))
    source = read_volume(folder)
    labels = np.random.default_rng(0).integers(0, 4, source.stored.shape).astype(np.uint8)
    read = read_bytes(tmp_path, written(source, labels, Encoding.BINARY), source)
    assert np.array_equal(read.label_map(WANTED), labels)
    dataset = pydicom.dcmread(io.BytesIO(written(source, labels, Encoding.BINARY)))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    read = read_bytes(tmp_path, encoded(dataset), source)
    assert np.array_equal(read.label_map(WANTED), labels)


def test_our_own_fractions_are_read_back(source: Volume, tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 1, SMALL.shape).astype(np.float32)
    values[np.abs(values - 0.5) < 0.01] = 0.7
    maps = [ValueMap(name="One", values=values)]
    data = write_fractional_seg(source, maps, [segment(1, "One")], PROVENANCE)
    assert np.array_equal(read_bytes(tmp_path, data, source).label_map(ONE) == 1, values >= 0.5)


def test_overlapping_segments_are_masks_but_no_map(source: Volume, tmp_path: Path) -> None:
    label_map = np.zeros(SMALL.shape, np.uint8)
    label_map[2, 4:8, 4:8], label_map[3, 4:8, 4:8] = 1, 2
    dataset = pydicom.dcmread(io.BytesIO(written(source, label_map, Encoding.BINARY)))
    first, second = dataset.PerFrameFunctionalGroupsSequence
    second.PlanePositionSequence = first.PlanePositionSequence
    second.DerivationImageSequence = first.DerivationImageSequence
    read = read_bytes(tmp_path, encoded(dataset), source)
    one, two, _ = (region.mask(SMALL.shape) for region in read.regions)
    assert np.array_equal(one, two)
    assert one.sum() == 16
    assert refused(lambda: read.label_map(WANTED)) is Reason.LABEL_INVALID
    assert read.label_map(WANTED[:1]).sum() == 16


def test_a_volume_with_filled_gaps_takes_the_nearest_slice(tmp_path: Path) -> None:
    """Slices 0, 1, 3, 4 were there; slice 2 was interpolated from 1 and 3."""
    source = on_disk(chest(replace(SMALL, shape=(4, 40, 32))), tmp_path / "series")
    assert source.header is not None
    label_map = scattered(7)[:4]
    label_map[1] = 2
    data = written(source, label_map, Encoding.BINARY)
    places = (0, 1, 3, 4)
    filled = Volume(
        stored=np.zeros((5, 40, 32), np.int16),
        affine=source.affine,
        header=source.header,
        regridding=Regridding(shape=(4, 40, 32), slices=places, shifts=((0.0, 0.0),) * 4),
    )
    dataset = pydicom.dcmread(io.BytesIO(data))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        number = [one.sop_instance_uid for one in source.header.instances].index(uid)
        place = source.to_patient(np.array([float(places[number]), 0.0, 0.0]))
        group.PlanePositionSequence[0].ImagePositionPatient = [f"{v:.10g}" for v in place]
    read = read_bytes(tmp_path, encoded(dataset), filled).label_map(WANTED)
    assert np.array_equal(read[list(places)], label_map)
    assert np.array_equal(read[2], label_map[1])
    assert np.array_equal(filled.on_source(read), label_map)


def break_type(dataset: Dataset) -> None:
    dataset.SegmentationType = "OTHER"


def break_groups(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[-1]


def break_segment(dataset: Dataset) -> None:
    item = dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0]
    item.ReferencedSegmentNumber = 9


def break_numbers(dataset: Dataset) -> None:
    dataset.SegmentSequence[1].SegmentNumber = 1


def break_pixels(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:40]


def break_frames(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 2**31 - 1


def break_position(dataset: Dataset) -> None:
    place = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    place.ImagePositionPatient = ["1", "2", "1e308"]


def break_twice(dataset: Dataset) -> None:
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[1] = groups[0]


@pytest.mark.parametrize(
    "change",
    [
        break_type,
        break_groups,
        break_segment,
        break_numbers,
        break_pixels,
        break_frames,
        break_position,
        break_twice,
    ],
)
def test_a_segmentation_that_contradicts_itself_is_invalid(
    change: Callable[[Dataset], None], source: Volume, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(io.BytesIO(written(source, scattered(1), Encoding.BINARY)))
    change(dataset)
    assert refused(lambda: read_bytes(tmp_path, encoded(dataset), source)) is Reason.LABEL_INVALID


@pytest.mark.parametrize("data", [b"", b"rubbish" * 100, b"\0" * 128 + b"DICM" + b"\xff" * 500])
def test_a_file_of_rubbish_is_refused(data: bytes, source: Volume, tmp_path: Path) -> None:
    refused(lambda: read_bytes(tmp_path, data, source))


def test_an_image_is_no_label(source: Volume, tmp_path: Path) -> None:
    path = next((tmp_path / "series").iterdir())
    assert refused(lambda: read_file(path, source)) is Reason.LABEL_INVALID


def masks_of(path: Path) -> NDArray[np.bool_]:
    import SimpleITK as sitk  # noqa: N813 - its own name for itself

    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def test_a_liver_of_dcmqi_is_the_mask_it_was_made_from() -> None:
    folder = shared("dicom", "seg_ct_dcmqi")
    source = read_volume(folder / "ct-3slice")
    read = read_file(folder / "liver.dcm", source)
    expected = masks_of(folder / "liver_seg.nrrd") > 0
    label_map = read.label_map([Wanted(number=1, name="Liver")])
    assert np.array_equal(label_map > 0, expected)
    assert expected.sum() > 1000


def test_overlapping_segments_of_dcmqi_are_the_masks_they_were_made_from() -> None:
    folder = shared("dicom", "seg_ct_dcmqi")
    source = read_volume(folder / "ct-3slice")
    regions = read_file(folder / "partial_overlaps.dcm", source).regions
    files = [masks_of(folder / f"partial_overlaps-{n}.nrrd") for n in (1, 2, 3)]
    expected = [file == value for file in files for value in np.unique(file) if value]
    found = [region.mask(source.stored.shape) for region in regions]
    assert len(found) == len(expected) == 5
    for mask in found:
        assert sum(np.array_equal(mask, other) for other in expected) == 1
