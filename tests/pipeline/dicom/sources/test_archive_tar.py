"""TAR archives: what is in them is read, links lead nowhere, and what is cut off is refused."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.archive import ArchiveLimits
from pipeline.dicom.sources.archive_tar import TarArchive
from pipeline.dicom.sources.opening import open_source
from pipeline.dicom.sources.source import Source
from pipeline.reasons import Reason
from tests.pipeline.dicom.sources import archives

DATA = bytes(range(256)) * 10
FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def refusals(source: Source) -> dict[str, Reason]:
    """Return the reason codes of the entries that are refused, by name."""
    return {entry.name: entry.refused[0] for entry in source.entries() if entry.refused}


def content(source: Source, name: str) -> bytes:
    """Read one file whole."""
    with source.open(name) as file:
        view = bytearray(file.size)
        assert file.read_into(0, memoryview(view)) == file.size
        assert file.read_at(0, file.size) == view
        return bytes(view)


def special(path: Path, **members: bytes) -> Path:
    """Write an archive with members of these kinds, each pointing at a file outside."""
    with tarfile.open(path, "w") as archive:
        for name, kind in members.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../../etc/passwd"
            archive.addfile(member)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_members_are_read_where_they_lie(tmp_path: Path, form: int) -> None:
    names = ["a/1", "empty", "deep/" * 20 + "2", "x" * 90 + "/" + "y" * 90]
    if form != tarfile.USTAR_FORMAT:
        names += ["z" * 300, "頭部/1"]
    members = [
        (name, b"" if name == "empty" else DATA[number:]) for number, name in enumerate(names)
    ]
    source = TarArchive(archives.tarred(tmp_path / "x.tar", members, form))
    assert [entry.name for entry in source.entries()] == names
    for name, data in members:
        assert content(source, name) == data
    with source.open("a/1") as file:
        assert file.read_at(len(DATA) - 3, 10) == DATA[-3:]
        assert file.read_at(len(DATA) + 3, 10) == b""
        assert file.read_into(len(DATA) - 3, memoryview(bytearray(10))) == 3


def test_an_archive_of_the_folder_itself_names_its_files_alike(tmp_path: Path) -> None:
    (tmp_path / "export" / "a").mkdir(parents=True)
    (tmp_path / "export" / "a" / "1").write_bytes(DATA)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "export", ".")
    assert [entry.name for entry in TarArchive(tmp_path / "x.tar").entries()] == ["a/1"]


def test_a_link_leads_nowhere_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    """A link out of the archive, then a file below the link: unpacked, it would be outside."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        below = tarfile.TarInfo("out/written")
        below.size = len(DATA)
        archive.addfile(below, io.BytesIO(DATA))
    source = TarArchive(path)
    assert refusals(source) == {"out": Reason.FILE_NOT_REGULAR}
    assert content(source, "out/written") == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tar"]


def test_links_devices_and_pipes_are_named_and_not_opened(tmp_path: Path) -> None:
    kinds = {"hard": b"1", "symbolic": b"2", "char": b"3", "block": b"4", "fifo": b"6", "odd": b"Q"}
    source = TarArchive(special(tmp_path / "x.tar", **kinds))
    assert refusals(source) == dict.fromkeys(kinds, Reason.FILE_NOT_REGULAR)
    with pytest.raises(FileRefused) as refused:
        source.open("hard")
    assert refused.value.reason is Reason.FILE_NOT_REGULAR


def test_a_sparse_file_is_refused_and_what_follows_is_found(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        for place in range(40):
            file.seek(place * 2**20)
            file.write(b"data" * 1024)
    path = tmp_path / "x.tar"
    header = tarfile.TarInfo("sparse")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, len(DATA)
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1  # the map of holes goes on in another block
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    sound = archives.tarred(tmp_path / "y.tar", [("after", DATA)], tarfile.GNU_FORMAT).read_bytes()
    path.write_bytes(
        bytes(block) + bytes(512) + DATA.ljust(-(-len(DATA) // 512) * 512, b"\0") + sound
    )
    source = TarArchive(path)
    assert refusals(source) == {"sparse": Reason.FILE_NOT_REGULAR}
    assert content(source, "after") == DATA
    archive = tmp_path / "z.tar"
    with tarfile.open(archive, "w") as file:
        member = tarfile.TarInfo("pax")
        member.pax_headers, member.size = {"GNU.sparse.major": "1"}, len(DATA)
        file.addfile(member, io.BytesIO(DATA))
    assert refusals(TarArchive(archive)) == {"pax": Reason.FILE_NOT_REGULAR}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:\\x", "..\\x"])
def test_a_name_that_escapes_is_refused_and_the_rest_is_read(tmp_path: Path, name: str) -> None:
    path = archives.tarred(tmp_path / "x.tar", [(name, b"evil"), ("good", DATA)])
    source = TarArchive(path)
    assert refusals(source) == {name: Reason.FILE_OUTSIDE}
    assert content(source, "good") == DATA


def test_two_members_of_one_name_are_both_refused(tmp_path: Path) -> None:
    path = archives.tarred(tmp_path / "x.tar", [("x", b"1"), ("x", b"2"), ("y", DATA)])
    assert refusals(TarArchive(path)) == {"x": Reason.FILE_DUPLICATE}


def test_a_name_that_is_no_text_is_shown_with_escapes(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        member = tarfile.TarInfo("Schädel")
        member.size = len(DATA)
        archive.addfile(member, io.BytesIO(DATA))
    (entry,) = TarArchive(path).entries()
    assert entry.name == "Sch\\xe4del"
    assert content(TarArchive(path), entry.name) == DATA


def test_a_size_over_eight_gibibytes_is_understood(tmp_path: Path) -> None:
    member = tarfile.TarInfo("large")
    member.size = 2**33 + 1
    path = tmp_path / "x.tar"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with path.open("wb") as file:
            file.write(member.tobuf(form))
            file.truncate(file.tell() + 2**33 + 512 + 1024)  # a hole: no block is written
        (entry,) = TarArchive(path, ArchiveLimits(member_bytes=2**40)).entries()
        assert (entry.size, entry.refused) == (2**33 + 1, None)
        assert refusals(TarArchive(path)) == {"large": Reason.FILE_TOO_LARGE}


@pytest.mark.parametrize(
    ("keep", "sentence"), [(2560, "inside a member"), (1024, "no end mark"), (4096, "no end mark")]
)
def test_an_archive_that_is_cut_off_is_refused_as_a_whole(
    tmp_path: Path, keep: int, sentence: str
) -> None:
    path = archives.tarred(tmp_path / "x.tar", [("x", DATA[:512]), ("y", DATA)])
    os.truncate(path, keep)
    with pytest.raises(SourceRefused, match=sentence) as refused:
        list(TarArchive(path).entries())
    assert refused.value.reason is Reason.SOURCE_UNREADABLE


def test_an_archive_with_too_many_members_is_refused(tmp_path: Path) -> None:
    path = archives.tarred(tmp_path / "x.tar", [("x", DATA), ("y", DATA)])
    for limits in (ArchiveLimits(members=1), ArchiveLimits(total_bytes=3000)):
        with pytest.raises(SourceRefused) as refused:
            list(TarArchive(path, limits).entries())
        assert refused.value.reason is Reason.SOURCE_TOO_LARGE


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_archive_is_refused_with_what_to_do(tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "x", mode) as archive:
        archive.addfile(tarfile.TarInfo("x"))
    with pytest.raises(SourceRefused) as refused:
        open_source(str(tmp_path / "x"))
    assert refused.value.reason is Reason.SOURCE_UNREADABLE
    assert "unpack it" in refused.value.sentence


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 255)), max_size=6),
    mends=st.booleans(),
)
def test_whatever_happens_to_an_archive_nothing_but_refusals_comes(
    tmp_path: Path, changes: list[tuple[int, int]], *, mends: bool
) -> None:
    """Bytes change at random, with headers that sum up rightly all the same."""
    members = [("z" * 120 + str(i), DATA[: 40 * i]) for i in range(4)]
    data = bytearray(archives.tarred(tmp_path / "x.tar", members).read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    for start in range(0, len(data) if mends else 0, 512):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = f"{sum(data[start : start + 512]):06o}\0 ".encode()
    (tmp_path / "x.tar").write_bytes(data)
    source = TarArchive(tmp_path / "x.tar")
    try:
        entries = list(source.entries())
    except SourceRefused:
        return
    for entry in entries:
        try:
            assert len(content(source, entry.name)) == entry.size
        except FileRefused:
            continue
