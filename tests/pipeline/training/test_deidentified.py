"""A snapshot of copies: as good to train on, and without who it is of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom import dcmread

from pipeline.training import box_files, deidentified, reading
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import Case, Part, file_digest, snapshot_of
from pipeline.volume import Volume
from tests.pipeline.deidentify.copies import KEY, OTHER_KEY
from tests.pipeline.dicom import made_series
from tests.pipeline.training import video_phantoms

MARKER = "ZQCANARYQZ"


def _case(row: int, image: Path, label: Path | str = "x") -> Case:
    return Case(
        row=row,
        image=image,
        label=label,
        patient_id=f"{MARKER}{row}",
        part=Part.TRAINING,
        image_digest=file_digest(image),
        label_digest=label if isinstance(label, str) else file_digest(label),
    )


def _nifti(path: Path) -> Path:
    file = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        file.header[name] = MARKER
    file.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", MARKER.encode()))
    nibabel.save(file, path)
    return path


def _picture(path: Path) -> Path:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", MARKER)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path, pnginfo=notes)
    return path


def test_the_copies_hold_the_same_voxels_and_no_name(tmp_path: Path) -> None:
    stack = made_series.stack(4)
    for one in stack:
        one.PatientName, one.StudyDescription = MARKER, MARKER
    folder = made_series.write(tmp_path / MARKER, stack)
    boxes = tmp_path / f"{MARKER}.json"
    box = {"label": "a", "centre": [1, 2, 3], "size": [1, 1, 1], "reader": MARKER}
    boxes.write_text(json.dumps({"boxes": [box], "patient": MARKER}))
    cases = [
        _case(1, folder, boxes),
        _case(2, _nifti(tmp_path / f"{MARKER}.nii.gz"), _nifti(tmp_path / f"{MARKER}.nii")),
        _case(3, _picture(tmp_path / f"{MARKER}.png")),
    ]
    copies = deidentified.deidentified(
        snapshot_of(cases), KEY, tmp_path / "copies", checkpoint=lambda: None
    )
    assert MARKER not in repr(copies).replace(str(tmp_path), "")
    for path in (tmp_path / "copies").rglob("*"):
        assert MARKER not in str(path.relative_to(tmp_path))
        assert path.is_dir() or MARKER.encode() not in path.read_bytes(), path
    by_row = {case.row: case for case in copies.cases}
    for case in cases:
        before = reading.read_image(case.image, spatial_dims=2 if case.row == 3 else 3)
        after = reading.read_image(by_row[case.row].image, spatial_dims=2 if case.row == 3 else 3)
        assert np.array_equal(_values(before), _values(after))
    assert box_files.read(Path(by_row[1].label)).boxes
    named = {dcmread(path).PatientID for path in by_row[1].image.rglob("*.dcm")}
    assert len(named) == 1


def test_every_form_of_picture_volume_and_boxes_has_a_copy_without_names(tmp_path: Path) -> None:
    """What is read of a copy is what is read of the original, and no remark is left."""
    numbers = np.arange(64, dtype=np.uint8).reshape(8, 8)
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, MARKER  # turned to the right; the artist
    frames = [Image.fromarray(numbers), Image.fromarray(numbers + 1)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:], artist=MARKER)
    colours = Image.fromarray(np.dstack([numbers, numbers, 255 - numbers]))
    colours.save(tmp_path / "b.jpg", exif=exif, comment=MARKER.encode())
    Image.fromarray(numbers.astype(np.uint16) * 999).save(tmp_path / "c.png", exif=exif)
    head = f"NRRD0004\n# {MARKER}\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"
    (tmp_path / "d.nrrd").write_bytes(f"{head}reader:={MARKER}\n\n".encode() + numbers.tobytes())
    box = "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax>"
    (tmp_path / "b.xml").write_text(
        f"<annotation><path>{MARKER}</path><size><width>8</width><height>8</height></size>"
        f"<object><name>a</name><bndbox>{box}</bndbox></object></annotation>"
    )
    clip = np.stack([np.dstack([numbers] * 3).repeat(2, 0).repeat(2, 1)] * 2)
    (tmp_path / "e.mov").write_bytes(video_phantoms.lossless(clip, ".mov", remark=MARKER))
    assert MARKER.encode() in (tmp_path / "e.mov").read_bytes()
    names: list[tuple[str, Path | str]] = [
        ("a.tif", "x"),
        ("b.jpg", tmp_path / "b.xml"),
        ("c.png", "x"),
        ("d.nrrd", "x"),
        ("e.mov", "x"),
    ]
    cases = [_case(row, tmp_path / name, label) for row, (name, label) in enumerate(names)]
    cases[2] = replace(cases[2], beside=(None, tmp_path / "a.tif"))
    copies = deidentified.deidentified(
        snapshot_of(cases), KEY, tmp_path / "copies", checkpoint=lambda: None
    )
    for path in (tmp_path / "copies").rglob("*"):
        assert path.is_dir() or MARKER.encode() not in path.read_bytes(), path
    by_row = {case.row: case for case in copies.cases}
    for case in cases:
        for before, after in zip(case.images, by_row[case.row].images, strict=True):
            if before is None or after is None:
                assert before is after
                continue
            read = [
                reading.read_image(path, spatial_dims=2, channels=3) for path in (before, after)
            ]
            assert np.array_equal(_values(read[0]), _values(read[1]))
    original, copied = (Path(one.label) for one in (cases[1], by_row[1]))
    assert box_files.read(copied) == box_files.read(original)


def test_the_same_key_gives_the_same_snapshot_and_another_key_another(tmp_path: Path) -> None:
    snapshot = snapshot_of([_case(1, _nifti(tmp_path / "a.nii"))])
    digests = [
        deidentified.deidentified(snapshot, key, tmp_path / name, checkpoint=lambda: None).digest
        for key, name in ((KEY, "1"), (KEY, "2"), (KEY, "2"), (OTHER_KEY, "3"))
    ]
    assert digests[0] == digests[1] == digests[2]
    assert digests[3] != digests[0] != snapshot.digest


def test_a_case_that_may_show_a_name_is_a_fault_of_its_row(tmp_path: Path) -> None:
    one = made_series.instance(0)
    one.BurnedInAnnotation = "YES"
    folder = made_series.write(tmp_path / MARKER, [one])
    with pytest.raises(ManifestInvalid) as refused:
        deidentified.deidentified(
            snapshot_of([_case(7, folder)]), KEY, tmp_path / "copies", checkpoint=lambda: None
        )
    (fault,) = refused.value.faults
    assert fault.row == 7
    assert "deidentify.burned_in" in fault.sentence
    assert MARKER not in str(refused.value)


def _values(image: object) -> np.ndarray:
    return image.stored if isinstance(image, Volume) else image.pixels  # type: ignore[attr-defined]
