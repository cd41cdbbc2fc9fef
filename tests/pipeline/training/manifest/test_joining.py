"""A manifest and cases that came later are one manifest."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from pipeline.errors import TrainingRefused
from pipeline.training.manifest import joining

ADDED = [
    {"image": "/new/1", "label": "dark", "patient_id": "p1"},
    {"image": "/new/2", "label": "bright", "patient_id": "p9"},
]
DICOM = b"\0" * 128 + b"DICM"


def write(folder: Path, text: str) -> Path:
    path = folder / "cases.csv"
    path.write_text(text)
    return path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_paths_mean_the_same_wherever_the_manifest_stands(tmp_path: Path) -> None:
    (tmp_path / "1.mask.npy").touch()
    base = write(tmp_path, "image,image2,label,patient_id\n1.npy,,1.mask.npy,p1\n2.npy,/x,dark,p2")
    first, second, *_ = rows(joining.joined(base, ADDED))
    assert first["image"] == str(tmp_path / "1.npy")
    assert (first["image2"], first["label"]) == ("", str(tmp_path / "1.mask.npy"))
    assert (second["image2"], second["label"]) == ("/x", "dark")


def test_a_class_stays_a_word_beside_the_folder_of_its_images(tmp_path: Path) -> None:
    for name in ("dark/1.npy", "dark/2.dcm", "bright/3.npy", "left/4.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(DICOM if name.endswith(".dcm") else b"pixels")
    lines = ["dark/1.npy,dark,p1", "dark/2.dcm,dark,p2", "bright/3.npy,bright,p3", "4.npy,left,p4"]
    base = write(tmp_path, "\n".join(["image,label,patient_id", *lines, "5.npy,bright,p5"]))
    labels = [row["label"] for row in rows(joining.joined(base, []))]
    assert labels == ["dark", "dark", "bright", "left", "bright"]


def test_a_folder_of_dicom_labels_is_named_wherever_the_manifest_stands(tmp_path: Path) -> None:
    for name in ("scan", "scan.labels"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(DICOM)
    base = write(tmp_path, "image,label,patient_id\nscan,scan.labels,p1")
    (only,) = rows(joining.joined(base, []))
    assert only["label"] == str(tmp_path / "scan.labels")


def test_later_cases_are_marked_and_the_rows_before_them_stay_as_they_are(tmp_path: Path) -> None:
    base = write(tmp_path, "image,label,patient_id,split\n1.npy,dark,p1,test\n2.npy,dark,p2,train")
    splits = [row["split"] for row in rows(joining.joined(base, ADDED))]
    assert splits == ["test", "train", "added", "added"]
    base = write(tmp_path, "image,label,patient_id,sex\n1.npy,dark,p1,F")
    joined = rows(joining.joined(base, ADDED))
    assert [row["split"] for row in joined] == ["", "added", "added"]
    assert [row["sex"] for row in joined] == ["F", "", ""]


def test_cases_without_a_base_are_a_manifest(tmp_path: Path) -> None:
    del tmp_path
    assert rows(joining.joined(None, ADDED)) == ADDED


@pytest.mark.parametrize("text", ["a,b\n1,2", "image,patient_id\n1,2,3", '{"training": []}'])
def test_what_is_no_csv_manifest_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(TrainingRefused, match="CSV"):
        joining.joined(write(tmp_path, text), ADDED)
    with pytest.raises(TrainingRefused, match="CSV"):
        joining.joined(tmp_path / "nowhere.csv", ADDED)
