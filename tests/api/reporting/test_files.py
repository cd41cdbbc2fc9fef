from __future__ import annotations

import os
from pathlib import Path

import pytest

from api.reporting.files import is_safe_name, lend, replacing, uid_name


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(UnicodeError), replacing(target) as file:  # noqa: PT012 - fails halfway
        file.write("half")
        raise UnicodeError
    assert target.read_text() == "old"
    with replacing(target) as file:
        file.write("new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_names_that_are_no_utf8_can_be_written(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.csv") as file:
        file.write("x\udcff")
    assert (tmp_path / "a.csv").read_text() == r"x\udcff"


def test_a_blob_is_linked_and_can_no_longer_be_written(tmp_path: Path) -> None:
    blob, target = tmp_path / "blob", tmp_path / "target"
    blob.write_bytes(b"bytes")
    lend(blob, target)
    lend(blob, target)
    assert target.samefile(blob)
    assert not target.stat().st_mode & 0o222


def test_a_blob_is_copied_where_it_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    blob, target = tmp_path / "blob", tmp_path / "target"
    blob.write_bytes(b"bytes")
    target.write_bytes(b"something older")
    lend(blob, target)
    assert target.read_bytes() == b"bytes"
    assert not target.samefile(blob)
    with pytest.raises(FileNotFoundError):
        lend(tmp_path / "gone", target)


@pytest.mark.parametrize("uid", ["..", ".", "", "1/2", "../../etc", "1" * 65, "1.2\n"])
def test_a_uid_that_is_none_never_becomes_a_path(uid: str) -> None:
    assert uid_name(uid).startswith("invalid-")


def test_a_uid_is_its_own_name() -> None:
    assert uid_name("1.2.840.10008.1") == "1.2.840.10008.1"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "-x", "a\n", "ä.dcm"])
def test_unsafe_names_are_found(name: str) -> None:
    assert not is_safe_name(name)


def test_plain_names_are_safe() -> None:
    assert is_safe_name("overlay-lungs-2.webp")
