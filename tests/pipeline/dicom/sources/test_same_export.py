"""One export is the same studies and the same voxels, wherever it is read from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.bucket import Bucket
from tests import services
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.sources.test_dicomdir import REAL, directory
from tests.pipeline.dicom.sources.told import told

ROOT = Path(__file__).parents[4]
#: of several requests
LARGE = bytes((place * place) % 251 for place in range(400_000))


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real and made series of every size, a compressed one, and a text."""
    folder = tmp_path_factory.mktemp("export")
    series.write(folder / "MADE", series.stack(6))
    shutil.copytree(REAL / "98892003", folder / "PAT1")
    shutil.copytree(REAL / "77654033" / "CT2", folder / "PAT2")
    shutil.copy(pydicom.data.get_testdata_file("CT_small.dcm"), folder / "SMALL")
    packed = dcmread(pydicom.data.get_testdata_file("MR_small.dcm"))
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(folder / "PACKED")
    (folder / "NOTE").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def of_folder(export: Path) -> dict[str, Any]:
    """What the export is as a folder."""
    found = told(str(export))
    assert len(found["files"]) > 20
    kinds = {(one["kind"], "read" in one) for study in found["studies"].values() for one in study}
    assert {("volume", True), ("image", True), ("volume", False)} <= kinds
    return found


@pytest.fixture(scope="module")
def bucket(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which ``s3://exports/night/1`` is the export."""
    root = tmp_path_factory.mktemp("store")
    shutil.copytree(export, root / "exports" / "night" / "1")
    (root / "exports" / "night" / "10").mkdir()
    (root / "exports" / "night" / "10" / "neighbour").write_text("not of the prefix 1")
    (root / "exports" / "night" / "empty").write_bytes(b"")
    (root / "exports" / "night" / "large").write_bytes(LARGE)
    try:
        with services.object_store(root) as environment:
            yield environment
    except services.ServiceMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_as_a_zip(export: Path, of_folder: dict[str, Any], tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        for path in sorted(export.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(export))
    assert told(str(tmp_path / "x.zip")) == of_folder


def test_as_a_tar(export: Path, of_folder: dict[str, Any], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(export, ".")
    assert told(str(tmp_path / "x.tar")) == of_folder


def test_as_a_dicomdir(export: Path, of_folder: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(export, tmp_path, dirs_exist_ok=True)
    names = [name.split("/") for name in of_folder["files"]]
    assert told(str(directory(tmp_path, *names))) == of_folder


def _told_in(environment: dict[str, str], address: str) -> dict[str, Any]:
    """Ask in a process that starts with this environment."""
    command = [sys.executable, "-m", "tests.pipeline.dicom.sources.told", address]
    answer = subprocess.run(
        command,
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.mark.parametrize("address", ["s3://exports/night/1", "s3://exports/night/1/"])
def test_as_a_bucket(of_folder: dict[str, Any], bucket: dict[str, str], address: str) -> None:
    assert _told_in(bucket, address) == of_folder


@pytest.fixture
def in_environment(bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process itself reach the store."""
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("in_environment")
def test_one_object_is_a_source_too(export: Path) -> None:
    source = Bucket("s3://exports/night/1/SMALL")
    (entry,) = source.entries()
    assert entry.name == "SMALL"
    with source.open("SMALL") as file:
        assert file.read_at(0, file.size) == (export / "SMALL").read_bytes()


@pytest.mark.usefixtures("in_environment")
def test_an_object_is_read_at_any_place(export: Path) -> None:
    source = Bucket("s3://exports/night/1")
    with source.open("MADE/0001.dcm") as file:
        small = (export / "MADE" / "0001.dcm").read_bytes()
        assert (file.size, file.read_at(200, 50)) == (len(small), small[200:250])
        view = bytearray(100)
        assert file.read_into(len(small) - 10, memoryview(view)) == 10
        assert view[:10] == small[-10:]
        assert file.read_at(len(small) + 5, 10) == b""
    with Bucket("s3://exports/night/large").open("large") as file:
        for place in (0, 100_000, 65_530, 399_990, 5):
            assert file.read_at(place, 20) == LARGE[place : place + 20]
        view = bytearray(200_000)
        assert file.read_into(65_000, memoryview(view)) == 200_000
        assert view == LARGE[65_000:265_000]
        assert file.read_into(300_000, memoryview(view)) == 100_000
    with Bucket("s3://exports/night/empty").open("empty") as file:
        assert (file.size, file.read_at(0, 10)) == (0, b"")


@pytest.mark.usefixtures("in_environment")
def test_the_header_of_an_object_costs_one_request() -> None:
    source = Bucket("s3://exports/night/1")
    client = source._connected()
    asked: list[str] = []
    really = client.call_s3
    client.call_s3 = lambda method, **kwargs: asked.append(method) or really(method, **kwargs)
    with source.open("SMALL") as file:
        for place in range(0, 4000, 200):
            file.read_at(place, 200)
    assert asked == ["get_object"]


@pytest.mark.usefixtures("in_environment")
def test_what_is_not_there_is_said_so() -> None:
    with pytest.raises(SourceRefused) as refused:
        list(Bucket("s3://no-such-bucket/x").entries())
    assert refused.value.reason.value == "source.missing"
    assert list(Bucket("s3://exports/nothing").entries()) == []
    with pytest.raises(FileRefused) as missing:
        Bucket("s3://exports/night/1").open("nothing")
    assert missing.value.reason.value == "file.missing"


@pytest.mark.usefixtures("in_environment")
def test_wrong_keys_are_said_so_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SOMEBODYELSE")
    with pytest.raises(SourceRefused) as refused:
        list(Bucket("s3://exports/night/1").entries())
    assert refused.value.reason.value == "source.unreadable"
    assert "SOMEBODYELSE" not in refused.value.sentence


@pytest.mark.parametrize("address", ["s3://", "s3://Key:secret@bucket/x", "s3://a/x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SourceRefused):
        Bucket(address)


def test_without_the_extra_the_refusal_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SourceRefused) as refused:
        Bucket("s3://exports/x")
    assert "nightshift[s3]" in refused.value.sentence
