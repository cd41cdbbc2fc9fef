"""Manifests: all faults at once, one patient in one part, digests that name the content."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training import manifest, recipe
from pipeline.training.faults import ManifestInvalid
from pipeline.training.fields import SplitField
from pipeline.training.manifest import Part, freezing
from pipeline.training.recipe import Recipe
from tests import quick_training
from tests.quick_training import write_images, write_manifest

RECIPE = recipe.check(quick_training.CLASSIFICATION)
#: where nothing hangs on labels
PLAIN = recipe.check(quick_training.RESTORATION)


def images(folder: Path, count: int) -> list[str]:
    names = []
    for number in range(count):
        np.save(folder / f"{number}.npy", np.full((4, 4), number, np.float32))
        names.append(f"{number}.npy")
    return names


def faults(path: Path, wanted: Recipe = RECIPE) -> list[tuple[int, str]]:
    with pytest.raises(ManifestInvalid) as refused:
        manifest.freeze(path, wanted)
    return [(fault.row, fault.column) for fault in refused.value.faults]


def test_a_stated_split_is_used_as_it_is(tmp_path: Path) -> None:
    snapshot = manifest.freeze(write_images(tmp_path), RECIPE)
    assert snapshot.counts() == {"training": 8, "validation": 4, "held-out": 4}


def test_every_fault_is_listed_by_row(tmp_path: Path) -> None:
    first, second, third = images(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("?")
    rows = [
        (first, "bright", "a", "train"),
        ("nowhere.npy", "bright", "b", "train"),
        (second, "purple", "c", "test"),
        (third, "dark", "", "test"),
        ("notes.txt", "dark", "d", "maybe"),
    ]
    assert faults(write_manifest(tmp_path, rows)) == [
        (2, "image"),
        (3, "label"),
        (4, "patient_id"),
        (5, "image"),
        (5, "split"),
    ]


def test_what_is_no_file_and_what_cannot_be_read_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = images(tmp_path, 1)
    os.mkfifo(tmp_path / "pipe.npy")  # would be waited for without an end
    long = "x" * 300
    rows = [
        ("pipe.npy", "dark", "a", "train"),
        ("/dev/zero", "dark", "b", "train"),
        (f"{long}.npy", "dark", "c", "test"),
        (first, long, "d", "test"),
    ]
    wrong = [(1, "image"), (2, "image"), (3, "image"), (4, "label")]
    assert faults(write_manifest(tmp_path, rows)) == wrong

    def refuse(paths: object) -> str:
        raise PermissionError

    monkeypatch.setattr(freezing, "content_digest", refuse)
    assert faults(write_manifest(tmp_path, [(first, "dark", "a", "train")])) == [(1, "row")]


def test_a_file_that_went_away_was_changed(tmp_path: Path) -> None:
    (case, *_) = manifest.freeze(write_images(tmp_path), RECIPE).cases
    assert manifest.changed(case) is None
    case.image.unlink()
    assert manifest.changed(case) == "image"


def test_a_fault_says_no_path_and_no_value(tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        manifest.freeze(write_manifest(tmp_path, [("DOE^JANE.npy", "x", "MRN123")]), RECIPE)
    assert "DOE" not in refused.value.sentence
    assert "MRN123" not in refused.value.sentence
    assert str(tmp_path) not in refused.value.sentence


def test_a_patient_in_two_parts_is_refused(tmp_path: Path) -> None:
    first, second, third = images(tmp_path, 3)
    rows = [
        (first, "dark", "a", "train"),
        (second, "dark", "a", "test"),
        (third, "dark", "b", "val"),
    ]
    assert faults(write_manifest(tmp_path, rows), PLAIN) == [(1, "split"), (2, "split")]


def test_the_same_pixels_under_two_names_are_refused(tmp_path: Path) -> None:
    (first,) = images(tmp_path, 1)
    (tmp_path / "copy.npy").write_bytes((tmp_path / first).read_bytes())
    rows = [(first, "dark", "a", "train"), ("copy.npy", "dark", "b", "test")]
    assert faults(write_manifest(tmp_path, rows), PLAIN) == [(2, "image")]


def test_a_split_stated_by_halves_is_refused(tmp_path: Path) -> None:
    first, second = images(tmp_path, 2)
    rows = [(first, "dark", "a", "train"), (second, "dark", "b", "")]
    assert (2, "split") in faults(write_manifest(tmp_path, rows))


def test_a_restoration_needs_no_labels(tmp_path: Path) -> None:
    first, second = images(tmp_path, 2)
    path = tmp_path / "cases.csv"
    path.write_text(f"image,patient_id,split\n{first},a,train\n{second},b,test\n")
    snapshot = manifest.freeze(path, recipe.check(quick_training.RESTORATION))
    assert [case.label for case in snapshot.cases] == ["", ""]
    assert faults(path) == [(0, "label")]


def test_an_empty_held_out_part_is_refused(tmp_path: Path) -> None:
    rows = [(name, "dark", "a", "train") for name in images(tmp_path, 2)]
    assert faults(write_manifest(tmp_path, rows), PLAIN) == [(0, "split")]


@pytest.mark.parametrize("text", ["", "image,label\n", "image,label,patient_id\n"])
def test_a_manifest_without_columns_or_cases_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(text)
    assert {row for row, _ in faults(path)} == {0}


@pytest.mark.parametrize("text", ["{", "[]", '{"training": [1]}', '{"training": []}'])
def test_a_datalist_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "datalist.json"
    path.write_text(text)
    assert faults(path) == [(0, "manifest")]


def test_a_monai_datalist_is_read_with_its_sections(tmp_path: Path) -> None:
    first, second, third = images(tmp_path, 3)
    document = {
        section: [{"image": name, "label": "dark", "patient_id": name}]
        for section, name in (("training", first), ("validation", second), ("test", third))
    }
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps(document))
    snapshot = manifest.freeze(path, PLAIN)
    assert [case.part for case in snapshot.cases] == [
        Part.HELD_OUT,
        Part.TRAINING,
        Part.VALIDATION,
    ]


def test_a_datalist_of_training_cases_only_is_split_by_patient(tmp_path: Path) -> None:
    document = [
        {"image": name, "label": "dark", "patient_id": f"p{number // 2}"}
        for number, name in enumerate(images(tmp_path, 60))
    ]
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"training": document}))
    snapshot = manifest.freeze(path, PLAIN)
    parts: dict[str, set[Part]] = {}
    for case in snapshot.cases:
        parts.setdefault(case.patient_id, set()).add(case.part)
    assert all(len(found) == 1 for found in parts.values())
    assert set(snapshot.counts()) == {"training", "validation", "held-out"}
    assert all(snapshot.counts().values())


def test_the_digest_names_the_content_not_its_place_or_order(tmp_path: Path) -> None:
    digests = []
    for folder, is_reversed in (("a", False), ("b", True)):
        place = tmp_path / folder
        place.mkdir()
        names = images(place, 4)
        rows = [
            (name, "dark", f"p{number}", "train" if number else "test")
            for number, name in enumerate(names)
        ]
        digests.append(
            manifest.freeze(
                write_manifest(place, rows[::-1] if is_reversed else rows), PLAIN
            ).digest
        )
    assert digests[0] == digests[1]


@pytest.mark.parametrize("change", ["pixels", "label", "part", "patient"])
def test_the_digest_changes_with_whatever_is_learned_from(tmp_path: Path, change: str) -> None:
    names = images(tmp_path, 4)
    rows = [
        (names[0], "dark", "a", "train"),
        (names[1], "dark", "b", "test"),
        (names[2], "dark", "c", "train"),
        (names[3], "bright", "d", "train"),
    ]
    before = manifest.freeze(write_manifest(tmp_path, rows), RECIPE).digest
    match change:
        case "pixels":
            np.save(tmp_path / names[2], np.full((4, 4), 99, np.float32))
        case "label":
            rows[2] = (names[2], "bright", "c", "train")
        case "part":
            rows[2] = (names[2], "dark", "c", "test")
        case _:
            rows[2] = (names[2], "dark", "e", "train")
    assert manifest.freeze(write_manifest(tmp_path, rows), RECIPE).digest != before


@given(st.text(min_size=1), st.floats(0, 0.4), st.floats(0, 0.4))
def test_a_patient_keeps_the_part_whoever_else_comes(
    patient: str, validation: float, held_out: float
) -> None:
    split = SplitField(validation=validation, held_out=held_out)
    assert manifest.assign(patient, split) is manifest.assign(patient, split)


def test_the_shares_of_the_parts_are_kept() -> None:
    split = SplitField(validation=0.2, held_out=0.3)
    parts = [manifest.assign(f"patient {number}", split) for number in range(4000)]
    assert abs(parts.count(Part.HELD_OUT) / 4000 - 0.3) < 0.03
    assert abs(parts.count(Part.VALIDATION) / 4000 - 0.2) < 0.03


def test_a_large_file_that_many_cases_name_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, read = tmp_path / "labels.json", []
    plain = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, name: (read.append(file.name), plain(file, name))[1]
    )
    digests = []
    for byte in (b"a", b"b"):
        labels.write_bytes(byte * 2**20)
        os.utime(labels, (ord(byte), ord(byte)))  # clocks of file systems may tick too slowly
        digests += [manifest.file_digest(labels) for _ in range(3)]
    expected = [hashlib.sha256(byte * 2**20).hexdigest() for byte in (b"a", b"b")]
    assert digests == [expected[0]] * 3 + [expected[1]] * 3
    assert len(read) == 2


def test_a_folder_has_the_same_digest_whatever_its_files_are_called(tmp_path: Path) -> None:
    for folder, names in (("a", ("1", "2")), ("b", ("z", "y"))):
        (tmp_path / folder).mkdir()
        for name, content in zip(names, (b"one", b"two"), strict=True):
            (tmp_path / folder / name).write_bytes(content)
    assert manifest.file_digest(tmp_path / "a") == manifest.file_digest(tmp_path / "b")


def test_groups_go_with_their_cases(tmp_path: Path) -> None:
    path = write_images(tmp_path)
    plain = manifest.freeze(path, RECIPE)
    lines = path.read_text().splitlines()
    lines = [f"{line},{word}" for line, word in zip(lines, ["age", *["50"] * 16], strict=True)]
    path.write_text("\n".join(lines))
    grouped = manifest.freeze(path, RECIPE)
    assert {case.groups for case in plain.cases} == {()}
    assert {case.groups for case in grouped.cases} == {(("age", "40-59"),)}
    # they are part of what was frozen, but of no case's content
    assert grouped.digest != plain.digest
    assert [case.digest for case in grouped.cases] == [case.digest for case in plain.cases]


def test_a_group_that_cannot_be_read_is_a_fault_of_its_row(tmp_path: Path) -> None:
    path = write_images(tmp_path)
    first, second, *others = path.read_text().splitlines()
    path.write_text("\n".join([f"{first},age,sex", f"{second},old,?", *others]))
    assert faults(path) == [(1, "age"), (1, "sex")]
