"""A snapshot of copies: as good to train on, and without who it is of."""

from __future__ import annotations

import json
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
