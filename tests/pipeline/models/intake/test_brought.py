"""Hostile folders and ZIPs: refused before anything of them is unpacked."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.models.bundle import BundleRefused
from pipeline.models.intake.brought import IntakeLimits, look_into
from pipeline.models.intake.forms import Fate
from pipeline.models.intake.taking import Taken
from tests.pipeline.dicom.sources import archives
from tests.pipeline.models.intake import made

Take = Callable[..., Taken]
Faults = Callable[..., str]


def add(path: Path, name: str, data: bytes, mode: int = 0o100644) -> None:
    """Append one member, under any name, to a ZIP."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        member.create_system = 3
        archive.writestr(member, data, compress_type=zipfile.ZIP_DEFLATED)


@pytest.fixture
def archive(brought: Path, tmp_path: Path) -> Path:
    """The sound bundle as a ZIP."""
    return made.zipped(brought, tmp_path / "brought.zip")


@pytest.mark.parametrize("name", ["../../evil.json", "/etc/evil.json", "docs/../../evil.md"])
def test_a_name_that_leads_out_refuses_the_archive_and_writes_nothing_there(
    archive: Path, faults: Faults, tmp_path: Path, name: str
) -> None:
    add(archive, name, b"{}")
    assert "points outside of the archive" in faults(archive)
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/etc/evil.json").exists()


def test_a_bomb_is_refused_by_what_it_states(archive: Path, faults: Faults) -> None:
    add(archive, "docs/zeros.txt", bytes(30_000_000))
    assert "over 200 times its stored size" in faults(archive)


def test_an_archive_that_lies_about_sizes_is_refused_when_it_is_read(
    archive: Path, faults: Faults
) -> None:
    archives.changed(archive, b"docs/README.md", size=4)
    assert "unpacks to more bytes than the archive states" in faults(archive)


def test_a_link_in_an_archive_is_refused(archive: Path, faults: Faults) -> None:
    add(archive, "docs/link.md", b"/etc/passwd", stat.S_IFLNK | 0o777)
    assert "'docs/link.md'" in faults(archive)


def test_a_name_that_comes_twice_is_refused(archive: Path, faults: Faults) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        add(archive, "configs/metadata.json", b"{}")
    assert "several members of this name" in faults(archive)


def test_encrypted_members_are_refused(archive: Path, faults: Faults) -> None:
    archives.changed(archive, b"LICENSE", flags=1)
    assert "'LICENSE'" in faults(archive)


def test_a_million_members_are_refused_after_ten_thousand(tmp_path: Path, faults: Faults) -> None:
    count = 1_000_000
    record = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[20] * 2, *[0] * 13, 0)[:46] + b"a"
    record = record[:28] + struct.pack("<H", 1) + record[30:]
    local = b"PK\3\4" + bytes(22) + struct.pack("<2H", 1, 0) + b"a"
    size = len(record) * count
    place = len(local) + size
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, len(local))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path = tmp_path / "many.zip"
    path.write_bytes(local + record * count + end64 + locator + end)
    assert faults(path) == "the archive holds more than 10000 members"


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, faults: Faults) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(b"PK\3\4 and no more")
    assert faults(path) == "it is neither a folder nor a ZIP"


def test_links_and_pipes_in_a_folder_are_refused_unopened(
    brought: Path, faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "secret.md").write_text("secret")
    (brought / "docs/link.md").symlink_to(tmp_path / "secret.md")
    (brought / "docs/folder").symlink_to(tmp_path)
    os.mkfifo(brought / "docs/pipe.md")
    told = faults(brought)
    assert told.count("a symbolic link is not opened") == 2
    assert "'docs/pipe.md': a FIFO is not opened" in told


def test_names_that_are_not_plain_are_left_out(brought: Path, take: Take) -> None:
    for name in ("docs/.hidden.md", "docs/a;rm -rf.md", "docs/\u202egnp.md"):
        (brought / name).write_text("x")
    left_out = take(brought).left_out
    assert {"docs/.hidden.md", "docs/a;rm -rf.md", "docs/\u202egnp.md"} <= left_out.keys()


def test_limits_hold_for_folders_too(brought: Path) -> None:
    for limits, sentence in (
        (IntakeLimits(files=3), "more than 3 files"),
        (IntakeLimits(total_bytes=100), "more than 100 bytes"),
        (IntakeLimits(kept_bytes=10), "more than the 10 allowed"),
    ):
        with pytest.raises(BundleRefused, match=sentence):
            look_into(brought, limits)


def test_what_is_no_part_of_a_bundle_is_left_out(brought: Path, tmp_path: Path) -> None:
    (brought / "sample.nii.gz").write_bytes(b"\x1f\x8b")
    archive = made.zipped(brought, tmp_path / "a.zip", top="spleen/")
    add(archive, "__MACOSX/spleen/note.txt", b"x")
    found = look_into(archive, IntakeLimits())
    left_out = ["__MACOSX/spleen/note.txt", "sample.nii.gz", "scripts/__init__.py"]
    assert found.of(Fate.LEFT_OUT) == left_out


def test_metadata_must_be_there_and_be_one(brought: Path, tmp_path: Path) -> None:
    archive = made.zipped(brought, tmp_path / "two.zip", top="a/")
    add(archive, "b/configs/metadata.json", b"{}")
    with pytest.raises(BundleRefused, match="2 bundles in it"):
        look_into(archive, IntakeLimits())
    (brought / "configs/metadata.json").unlink()
    with pytest.raises(BundleRefused, match=r"metadata.json is missing"):
        look_into(brought, IntakeLimits())
