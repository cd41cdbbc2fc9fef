"""ZIP archives: what is in them is read, and what they claim is checked first."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.archive import ArchiveLimits
from pipeline.dicom.sources.archive_zip import ZipArchive
from pipeline.dicom.sources.source import Source
from pipeline.reasons import Reason
from tests.pipeline.dicom.sources import archives

SMALL = bytes(range(256)) * 10
#: longer than what is inflated for a header alone
LARGE = bytes((i * i) % 251 for i in range(400_000))


def refusals(source: Source) -> dict[str, Reason]:
    """Return the reason codes of the entries that are refused, by name."""
    return {entry.name: entry.refused[0] for entry in source.entries() if entry.refused}


def content(source: Source, name: str) -> bytes:
    """Read one file whole."""
    with source.open(name) as file:
        view = bytearray(file.size)
        assert file.read_into(0, memoryview(view)) == file.size
        return bytes(view)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_at_any_place(tmp_path: Path, method: int) -> None:
    members = [("a/small", SMALL), ("a/large", LARGE), ("empty", b"")]
    source = ZipArchive(archives.zipped(tmp_path / "x.zip", members, method))
    assert [(e.name, e.size, e.refused) for e in source.entries()] == [
        (name, len(data), None) for name, data in members
    ]
    for name, data in members:
        with source.open(name) as file:
            assert file.read_at(0, 100) == data[:100]
            assert file.read_at(150, 70) == data[150:220]
            assert file.read_at(max(0, len(data) - 5), 50) == data[-5:]
            assert file.read_at(len(data), 5) == b""
            view = bytearray(300)
            count = file.read_into(200, memoryview(view))
            assert view[:count] == data[200:500]
        assert content(source, name) == data


def test_folders_in_the_archive_are_no_entries(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.mkdir("folder")
        archive.writestr("folder/file", SMALL)
    assert [e.name for e in ZipArchive(tmp_path / "x.zip").entries()] == ["folder/file"]


def test_a_zip64_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        with archive.open("wide", "w", force_zip64=True) as file:
            file.write(SMALL)
        for number in range(70_000):
            archive.writestr(f"{number}", b"")
    source = ZipArchive(tmp_path / "x.zip")
    assert sum(1 for _ in source.entries()) == 70_001
    assert content(source, "wide") == SMALL
    assert content(source, "69999") == b""


def test_what_stands_before_an_archive_shifts_its_places(tmp_path: Path) -> None:
    archives.zipped(tmp_path / "x.zip", [("a", LARGE), ("b", SMALL)])
    path = tmp_path / "y.zip"
    path.write_bytes(b"#!/bin/sh\n" * 20 + (tmp_path / "x.zip").read_bytes())
    assert content(ZipArchive(path), "b") == SMALL


ESCAPING = [b"../x", b"a/../../x", b"/etc/x", b"\\x", b"..\\x", b"C:\\x", b"c:x", b"a\0b", b""]


@pytest.mark.parametrize("name", ESCAPING)
def test_a_name_that_escapes_is_refused_and_the_rest_is_read(tmp_path: Path, name: bytes) -> None:
    path = archives.raw_zip(tmp_path / "x.zip", [(name, b"evil"), (b"good", SMALL)])
    source = ZipArchive(path)
    (refused,) = refusals(source).items()
    assert refused[1] is Reason.FILE_OUTSIDE
    assert "\0" not in refused[0]
    with pytest.raises(FileRefused) as error:
        source.open(refused[0])
    assert error.value.reason is Reason.FILE_OUTSIDE
    assert content(source, "good") == SMALL


def test_a_name_in_another_alphabet_is_shown_as_text(tmp_path: Path) -> None:
    names = ["Schädel/1", "頭部/1"]
    path = archives.zipped(tmp_path / "x.zip", [(name, SMALL) for name in names])
    assert [entry.name for entry in ZipArchive(path).entries()] == names
    assert all(content(ZipArchive(path), name) == SMALL for name in names)
    path = archives.raw_zip(tmp_path / "y.zip", [(b"Sch\x84del", SMALL)])  # code page 437
    assert content(ZipArchive(path), "Schädel") == SMALL


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_device_is_refused(tmp_path: Path, kind: int) -> None:
    path = archives.raw_zip(tmp_path / "x.zip", [(b"x", b"/etc/passwd")], mode=kind | 0o777)
    assert refusals(ZipArchive(path)) == {"x": Reason.FILE_NOT_REGULAR}


def test_two_members_of_one_name_are_both_refused(tmp_path: Path) -> None:
    path = archives.raw_zip(tmp_path / "x.zip", [(b"x", b"1"), (b"y", b"2"), (b"x", b"3")])
    source = ZipArchive(path)
    assert [entry.name for entry in source.entries()] == ["x", "y"]
    assert refusals(source) == {"x": Reason.FILE_DUPLICATE}
    with pytest.raises(FileRefused) as error:
        source.open("x")
    assert error.value.reason is Reason.FILE_DUPLICATE


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("x", SMALL), ("y", SMALL)])
    source = ZipArchive(archives.changed(path, b"x", flags=1))
    assert refusals(source) == {"x": Reason.FILE_UNREADABLE}
    assert content(source, "y") == SMALL


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused_by_name(tmp_path: Path, method: int) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("x", SMALL)], method)
    (entry,) = ZipArchive(path).entries()
    assert entry.refused is not None
    assert entry.refused[0] is Reason.FILE_UNREADABLE
    assert f"method {method}" in entry.refused[1]


def test_a_bomb_is_refused_before_it_inflates(tmp_path: Path) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("bomb", bytes(2**20)), ("good", LARGE)])
    limits = ArchiveLimits(free_bytes=2**19, ratio=100)
    assert refusals(ZipArchive(path, limits)) == {"bomb": Reason.FILE_TOO_LARGE}
    limits = ArchiveLimits(member_bytes=2**19)
    assert refusals(ZipArchive(path, limits)) == {"bomb": Reason.FILE_TOO_LARGE}


def test_an_archive_that_unpacks_to_too_much_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("a", LARGE), ("b", LARGE)])
    for limits in (ArchiveLimits(total_bytes=700_000), ArchiveLimits(members=1)):
        with pytest.raises(SourceRefused) as refused:
            list(ZipArchive(path, limits).entries())
        assert refused.value.reason is Reason.SOURCE_TOO_LARGE


def test_members_that_overlap_are_a_bomb(tmp_path: Path) -> None:
    """One kernel of bytes that many members claim, as in the better bombs."""
    path = archives.raw_zip(tmp_path / "x.zip", [(b"x", bytes(1000))])
    data = path.read_bytes()
    table = data[data.index(b"PK\1\2") : data.index(b"PK\5\6")]
    end = bytearray(data[data.index(b"PK\5\6") :])
    end[8:10] = end[10:12] = (50).to_bytes(2, "little")
    end[12:16] = (50 * len(table)).to_bytes(4, "little")
    path.write_bytes(data[: data.index(b"PK\1\2")] + 50 * table + end)
    with pytest.raises(SourceRefused) as refused:
        list(ZipArchive(path).entries())
    assert refused.value.reason is Reason.SOURCE_UNREADABLE


@pytest.mark.parametrize("lie", [len(LARGE) - 1, len(LARGE) + 1, len(LARGE) - 200_000])
def test_an_archive_that_lies_about_a_size_is_found_out(tmp_path: Path, lie: int) -> None:
    """CVE-2026-5439: what inflates is counted, not believed."""
    path = archives.zipped(tmp_path / "x.zip", [("x", LARGE)])
    source = ZipArchive(archives.changed(path, b"x", size=lie))
    with source.open("x") as file, pytest.raises(FileRefused) as refused:
        file.read_at(0, file.size)
    assert refused.value.reason is Reason.FILE_DAMAGED


def test_a_stored_member_of_two_sizes_is_refused(tmp_path: Path) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("x", SMALL)], zipfile.ZIP_STORED)
    source = ZipArchive(archives.changed(path, b"x", size=5000))
    assert refusals(source) == {"x": Reason.FILE_DAMAGED}


def test_pixels_are_never_read_from_a_member_with_a_wrong_checksum(tmp_path: Path) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("x", LARGE), ("y", SMALL)])
    archives.changed(path, b"x", checksum=1)
    source = ZipArchive(archives.changed(path, b"y", checksum=1))
    with source.open("x") as file:
        assert file.read_at(0, 1000) == LARGE[:1000]  # a header: the rest is not there yet
        assert file.read_at(5000, 8) == LARGE[5000:5008]  # the head of a fragment
        with pytest.raises(FileRefused):
            file.read_into(2000, memoryview(bytearray(10)))
    with source.open("x") as file, pytest.raises(FileRefused):
        file.read_at(5000, 500)  # a fragment near the start of a long file
    with source.open("y") as file, pytest.raises(FileRefused) as refused:
        file.read_at(0, 10)
    assert refused.value.reason is Reason.FILE_DAMAGED


def test_a_member_under_another_name_than_the_table_says_is_refused(tmp_path: Path) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("abc", SMALL)])
    path.write_bytes(path.read_bytes().replace(b"abc", b"abd", 1))
    with pytest.raises(FileRefused) as refused:
        ZipArchive(path).open("abc")
    assert refused.value.reason is Reason.FILE_DAMAGED


@pytest.mark.parametrize("cut", [1, 30, 100, 100_000])
def test_an_archive_that_is_cut_off_is_refused_as_a_whole(tmp_path: Path, cut: int) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("x", LARGE), ("y", SMALL)], zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SourceRefused) as refused:
        list(ZipArchive(path).entries())
    assert refused.value.reason is Reason.SOURCE_UNREADABLE


def test_a_member_that_is_not_there_is_missing(tmp_path: Path) -> None:
    path = archives.zipped(tmp_path / "x.zip", [("x", SMALL)])
    with pytest.raises(FileRefused) as refused:
        ZipArchive(path).open("z")
    assert refused.value.reason is Reason.FILE_MISSING


def test_a_large_member_is_inflated_without_holding_it_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.dicom.sources.inflating._IN_MEMORY", 1000)
    path = archives.zipped(tmp_path / "x.zip", [("x", LARGE)])
    assert content(ZipArchive(path), "x") == LARGE


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 60),
)
@example(changes=[], cut=0)
def test_whatever_happens_to_an_archive_nothing_but_refusals_comes(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int
) -> None:
    """Bytes of the tables change at random; every answer is data of the right size or a refusal."""
    members = [(f"member{i}", SMALL[: 40 * i]) for i in range(6)]
    data = bytearray(archives.zipped(tmp_path / "x.zip", members).read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    (tmp_path / "x.zip").write_bytes(bytes(data[: len(data) - cut]))
    try:
        source = ZipArchive(tmp_path / "x.zip")
        entries = list(source.entries())
    except SourceRefused:
        return
    assert len(entries) == len({entry.name for entry in entries})
    for entry in entries:
        try:
            assert len(content(source, entry.name)) == entry.size
        except FileRefused:
            continue
