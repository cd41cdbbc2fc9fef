"""Cases whose labels are DICOM: segmentations, structure sets and reports of phantoms."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from pipeline import phantoms
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.dicom.writing.sr import write_sr
from pipeline.models import bundle
from pipeline.phantoms import Phantom, PhantomParameters, Tissue
from pipeline.results import Classification, Code, Detection, Segment
from pipeline.training import data, dicom_labels, manifest, preparing, reading, recipe
from pipeline.training.boxes import Box, PixelBox
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import Case, Part
from pipeline.training.reading import LabelRefused
from pipeline.training.recipe import Recipe
from pipeline.volume import Image, Volume
from tests import quick_training
from tests.pipeline.dicom.labels.made_labels import circle, on_slice, structure_set
from tests.pipeline.dicom.segs import PROVENANCE

NODULE = {"scheme": "SCT", "value": "27925004", "meaning": "Nodule"}
CT = quick_training.SEGMENTATION["input"] | {"modalities": ["CT"], "window": [-1000, 400]}
LABELS = [{"number": 1, "name": "lesion", "code": NODULE}]
SEGMENTATION: dict[str, Any] = quick_training.SEGMENTATION | {"input": CT, "labels": LABELS}
DETECTION: dict[str, Any] = quick_training.DETECTION | {
    "input": CT,
    "labels": [LABELS[0] | {"number": 0}],
}
CLASSIFICATION = quick_training.CLASSIFICATION


@dataclass(frozen=True)
class Made:
    """A phantom on disk, and as the product reads it."""

    phantom: Phantom
    folder: Path
    volume: Volume

    def save(self, name: str, content: bytes) -> Path:
        path = self.folder.parent / name
        path.write_bytes(content)
        return path


def made(folder: Path, seed: int = 5, rotation: tuple[float, float, float] = (9, -7, 20)) -> Made:
    parameters = PhantomParameters(
        shape=(16, 40, 36), spacing=(6.0, 8.0, 8.5), seed=seed, lesions=2, radius=(12.0, 20.0),
        rotation=rotation,
    )  # fmt: skip
    phantom = phantoms.chest(parameters)
    series = folder / f"series-{seed}"
    phantoms.write_series(phantom, series, seed=seed)
    read = reading.read_image(series, spatial_dims=3)
    assert isinstance(read, Volume)
    return Made(phantom, series, read)


def segmented(case: Made, label: str = "Lesion", code: Code | None = None) -> bytes:
    segment = Segment(number=1, label=label, voxels=0, volume_ml=0.0, centroid=None, code=code)
    mask = case.phantom.mask(Tissue.LESION).astype(np.uint8)
    return write_seg(case.volume, mask, [segment], PROVENANCE)


def drawn(case: Made) -> tuple[bytes, NDArray[np.bool_]]:
    """A structure set of one rod along the slices, and its voxels."""
    rows, columns = np.indices(case.volume.stored.shape[1:])
    rod = np.zeros(case.volume.stored.shape, np.bool_)
    rod[4:9] = np.hypot(rows - 20.3, columns - 15.8) < 6.2
    contours = [on_slice(case.volume, place, circle((20.3, 15.8), 6.2)) for place in range(4, 9)]
    header = case.volume.header
    assert header is not None
    frame = header.frame_of_reference_uid or ""
    dataset = structure_set({"LESION": contours}, frame_of_reference=frame)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue(), rod


def checked(document: dict[str, Any]) -> Recipe:
    return recipe.check(document)


def test_a_segmentation_is_the_mask_it_was_written_from(tmp_path: Path) -> None:
    case = made(tmp_path)
    path = case.save("label.dcm", segmented(case))
    mask = dicom_labels.read_mask(path, case.volume, checked(SEGMENTATION))
    assert np.array_equal(mask == 1, case.phantom.mask(Tissue.LESION))


def test_a_label_is_found_by_the_code_of_the_recipe(tmp_path: Path) -> None:
    case = made(tmp_path)
    path = case.save("label.dcm", segmented(case, "Something", Code(**NODULE)))
    mask = dicom_labels.read_mask(path, case.volume, checked(SEGMENTATION))
    assert np.array_equal(mask == 1, case.phantom.mask(Tissue.LESION))


def test_a_structure_set_is_the_mask_that_was_drawn(tmp_path: Path) -> None:
    case = made(tmp_path)
    content, rod = drawn(case)
    mask = dicom_labels.read_mask(case.save("rt.dcm", content), case.volume, checked(SEGMENTATION))
    assert np.array_equal(mask == 1, rod)


def test_parts_of_a_mask_are_boxes_each(tmp_path: Path) -> None:
    case = made(tmp_path)
    path = case.save("label.dcm", segmented(case))
    boxes = dicom_labels.read_boxes(path, case.volume, checked(DETECTION))
    assert {box.label for box in boxes} == {"lesion"}
    expected = sorted(lesion.centre for lesion in case.phantom.lesions)
    centres = sorted(box.centre for box in boxes if isinstance(box, Box))
    assert len(boxes) == len(centres) == len(expected) == 2
    for one, centre in zip(centres, expected, strict=True):
        assert np.abs(np.subtract(one, centre)).max() < max(case.volume.spacing)


def test_our_own_detections_are_cases_to_learn_from(tmp_path: Path) -> None:
    case = made(tmp_path)
    centre = case.volume.to_patient(np.array([6.0, 19.5, 17.5])).tolist()
    found = Detection(
        label="lesion",
        score=0.7,
        index_box=(6.0, 18.0, 16.0, 7.0, 22.0, 20.0),
        centre=centre,
        size=(6.0, 32.0, 34.0),
    )
    report = write_sr(case.volume, [found], PROVENANCE, segmentation=None)
    (box,) = dicom_labels.read_boxes(
        case.save("report.dcm", report), case.volume, checked(DETECTION)
    )
    assert isinstance(box, Box)
    assert box.centre == pytest.approx(centre, abs=1e-3)
    assert box.size == pytest.approx((6.0, 32.0, 34.0), abs=1e-3)


def test_a_report_without_regions_is_a_case_without_boxes(tmp_path: Path) -> None:
    case = made(tmp_path)
    path = case.save("report.dcm", write_sr(case.volume, [], PROVENANCE, segmentation=None))
    assert dicom_labels.read_boxes(path, case.volume, checked(DETECTION)) == ()


def test_the_class_of_a_report_is_the_class_of_a_case(tmp_path: Path) -> None:
    case = made(tmp_path)
    said = [
        Classification(label="dark", score=0.1),
        Classification(label="bright", score=0.9, is_top=True),
    ]
    path = case.save("report.dcm", write_sr(case.volume, said, PROVENANCE, segmentation=None))
    assert dicom_labels.read_class(path, case.volume, checked(CLASSIFICATION)) == "bright"
    nothing = case.save("none.dcm", write_sr(case.volume, [], PROVENANCE, segmentation=None))
    with pytest.raises(LabelRefused):
        dicom_labels.read_class(nothing, case.volume, checked(CLASSIFICATION))


def test_a_label_of_another_patient_or_of_nothing_wanted_is_refused(tmp_path: Path) -> None:
    case, other = made(tmp_path), made(tmp_path, seed=6)
    wanted = checked(SEGMENTATION)
    with pytest.raises(LabelRefused, match="frame of reference"):
        dicom_labels.read_mask(case.save("a.dcm", segmented(case)), other.volume, wanted)
    with pytest.raises(LabelRefused, match="none of the labels"):
        dicom_labels.read_mask(case.save("b.dcm", segmented(case, "Rib")), case.volume, wanted)
    image = Image(pixels=np.zeros((1, 4, 4), np.float32))
    with pytest.raises(LabelRefused, match="a place in the patient"):
        dicom_labels.read_mask(case.save("c.dcm", segmented(case)), image, wanted)


IMAGES = [
    phantoms.ImageParameters(kind=phantoms.ImageKind.CR, shape=(96, 80)),
    phantoms.ImageParameters(kind=phantoms.ImageKind.US, shape=(64, 80)),
    phantoms.ImageParameters(kind=phantoms.ImageKind.US, shape=(64, 80), frames=4),
    phantoms.ImageParameters(kind=phantoms.ImageKind.CT, shape=(96, 80)),
]
NAMES = ["radiograph", "still", "loop", "lone slice"]


def imaged(folder: Path, parameters: phantoms.ImageParameters, seed: int = 0) -> Image:
    """Return an image phantom as the product reads it."""
    phantoms.write_image(phantoms.image(parameters), folder / f"image-{seed}", seed=seed)
    read = reading.read_image(folder / f"image-{seed}", spatial_dims=2)
    assert isinstance(read, Image)
    return read


def outlined(image: Image) -> NDArray[np.uint8]:
    """Return two parts, the second of them not in every frame."""
    mask = np.zeros(image.pixels.shape[:3], np.uint8)
    mask[:, 10:20, 5:12] = 1
    mask[0, 30:33, 40:60] = 1
    return mask


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "label.dcm"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("parameters", IMAGES, ids=NAMES)
@pytest.mark.parametrize("encoding", Encoding)
def test_a_segmentation_of_single_images_and_loops_is_the_mask_it_was_written_from(
    tmp_path: Path, parameters: phantoms.ImageParameters, encoding: Encoding
) -> None:
    image = imaged(tmp_path, parameters)
    mask = outlined(image)
    segment = Segment(number=1, label="Lesion", voxels=0, volume_ml=0.0, centroid=None)
    written = write_seg(image, mask, [segment], PROVENANCE, encoding=encoding)
    found = dicom_labels.read_mask(saved(tmp_path, written), image, checked(SEGMENTATION))
    assert np.array_equal(found, mask)
    other = imaged(tmp_path, parameters, seed=1)
    with pytest.raises(LabelRefused, match="frame of reference"):
        dicom_labels.read_mask(saved(tmp_path, written), other, checked(SEGMENTATION))


@pytest.mark.parametrize(
    "parameters", [one for one in IMAGES if one.frames == 1], ids=[NAMES[0], NAMES[1], NAMES[3]]
)
def test_boxes_on_single_images_are_in_pixels(
    tmp_path: Path, parameters: phantoms.ImageParameters
) -> None:
    image = imaged(tmp_path, parameters)
    segment = Segment(number=1, label="Lesion", voxels=0, volume_ml=0.0, centroid=None)
    written = write_seg(image, outlined(image), [segment], PROVENANCE)
    boxes = dicom_labels.read_boxes(saved(tmp_path, written), image, checked(DETECTION))
    assert boxes == (
        PixelBox(label="lesion", low=(10, 5), high=(20, 12)),
        PixelBox(label="lesion", low=(30, 40), high=(33, 60)),
    )
    said = Detection(
        label="lesion",
        score=0.7,
        index_box=(0.0, 10.25, 5.5, 1.0, 20.75, 12.0),
        centre=None,
        size=None,
    )
    report = write_sr(image, [said], PROVENANCE, segmentation=None)
    (box,) = dicom_labels.read_boxes(saved(tmp_path, report), image, checked(DETECTION))
    assert isinstance(box, PixelBox)
    assert (box.low, box.high) == (
        pytest.approx((10.25, 5.5), abs=1e-3),
        pytest.approx((20.75, 12.0), abs=1e-3),
    )


def test_a_folder_of_one_file_for_each_label_is_one_label(tmp_path: Path) -> None:
    case = made(tmp_path)
    document = SEGMENTATION | {"labels": [*LABELS, {"number": 2, "name": "rod"}]}
    arguments = document["network"]["arguments"] | {"out_channels": 3}
    document["network"] = document["network"] | {"arguments": arguments}
    folder = tmp_path / "labels"
    folder.mkdir()
    rod = np.zeros(case.volume.stored.shape, np.uint8)
    rod[0, :4, :4] = 1
    segment = Segment(number=1, label="Rod", voxels=0, volume_ml=0.0, centroid=None)
    (folder / "rod.dcm").write_bytes(write_seg(case.volume, rod, [segment], PROVENANCE))
    (folder / "lesion.dcm").write_bytes(segmented(case))
    assert dicom_labels.is_dicom(folder)
    mask = dicom_labels.read_mask(folder, case.volume, checked(document))
    assert np.array_equal(mask == 1, case.phantom.mask(Tissue.LESION))
    assert np.array_equal(mask == 2, rod == 1)


def cases(folder: Path) -> tuple[Path, list[Made]]:
    """Four patients with SEG and RTSTRUCT in turn, and a manifest, split as stated."""
    every = [made(folder, seed, (0.0, 0.0, 0.0)) for seed in range(4)]
    parts = ("train", "train", "validation", "test")
    path = folder / "cases.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label", "patient_id", "split"))
        for number, (case, part) in enumerate(zip(every, parts, strict=True)):
            content = drawn(case)[0] if number % 2 else segmented(case)
            name = case.save(f"{number}.label", content).name
            writer.writerow((case.folder.name, name, f"P{number}", part))
    return path, every


def test_every_fault_is_listed_by_row(tmp_path: Path) -> None:
    """Those that can be seen without decoding at once, those of the contents together."""
    path, every = cases(tmp_path)
    (tmp_path / "0.label").write_bytes(b"no DICOM" * 40)
    (tmp_path / "3.label").unlink()
    with pytest.raises(ManifestInvalid) as caught:
        manifest.freeze(path, checked(SEGMENTATION))
    assert [(f.row, f.column) for f in caught.value.faults] == [(1, "label"), (4, "label")]
    (tmp_path / "0.label").write_bytes(segmented(every[1]))  # another patient's
    (tmp_path / "2.label").write_bytes(segmented(every[2], "Rib"))  # nothing wanted
    (tmp_path / "3.label").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 400)  # broken
    snapshot = manifest.freeze(path, checked(SEGMENTATION))
    with pytest.raises(ManifestInvalid) as caught:
        preparing.prepare(
            snapshot,
            checked(SEGMENTATION),
            lambda _image, _truth: {},
            tmp_path / "kept",
            checkpoint=lambda: None,
        )
    assert [(f.row, f.column) for f in caught.value.faults] == [
        (1, "label"),
        (3, "label"),
        (4, "label"),
    ]


def test_the_digest_of_a_case_names_the_content_of_its_label(tmp_path: Path) -> None:
    path, every = cases(tmp_path)
    first = manifest.freeze(path, checked(SEGMENTATION))
    (tmp_path / "0.label").write_bytes(drawn(every[0])[0])
    second = manifest.freeze(path, checked(SEGMENTATION))
    assert first.digest != second.digest


def test_truth_is_read_by_what_the_label_is(tmp_path: Path) -> None:
    case = made(tmp_path)

    def truth(name: str, content: bytes, document: dict[str, Any]) -> reading.Truth:
        found = Case(
            row=1,
            image=case.folder,
            label=case.save(name, content),
            patient_id="P",
            part=Part.TRAINING,
            image_digest="",
            label_digest="",
        )
        return data.read_truth(found, checked(document), case.volume)

    assert truth("a.dcm", segmented(case), SEGMENTATION).mask is not None
    assert len(truth("b.dcm", segmented(case), DETECTION).boxes or ()) == 2
    said = [Classification(label="dark", score=1.0, is_top=True)]
    report = write_sr(case.volume, said, PROVENANCE, segmentation=None)
    assert truth("c.dcm", report, CLASSIFICATION).label == "dark"


@pytest.mark.system
def test_a_training_learns_from_dicom_alone(tmp_path: Path) -> None:
    """Images, labels and evaluation: no other format anywhere."""
    path, _ = cases(tmp_path)
    order = {
        "recipe": SEGMENTATION | {"epochs": 1},
        "manifest": str(path),
        "folder": str(tmp_path / "work"),
        "bundle": str(tmp_path / "bundle"),
        "version": "1.0",
        "device": "cpu",
        "threads": 1,
    }
    paper = tmp_path / "order.json"
    paper.write_text(json.dumps(order))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.training", str(paper)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, said[-1]
    assert said[-1]["event"] == "finished"
    assert said[-1]["metrics"]["cases"] == 1
    assert bundle.load(tmp_path / "bundle").spec.labels[0].name == "lesion"
