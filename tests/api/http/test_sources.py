"""Which sources a request may name, beyond folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.http.problems import Problem
from api.http.sources import admit_source


def test_an_archive_below_a_root_is_a_source(tmp_path: Path) -> None:
    archive = tmp_path / "export.zip"
    archive.write_bytes(b"PK\5\6" + bytes(18))
    assert admit_source(str(archive), [tmp_path], []) == str(archive)


def test_a_bucket_is_a_source_only_where_a_setting_admits_it() -> None:
    assert admit_source("s3://exports/ct/1", [], ["s3://exports/ct"]) == "s3://exports/ct/1"
    for given in ("s3://exports/mr", "s3://exports/ct/../mr", "s3://exports", "gs://exports/ct/1"):
        with pytest.raises(Problem):
            admit_source(given, [Path("/")], ["s3://exports/ct"])
    with pytest.raises(Problem):
        admit_source("s3://exports/ct/1", [Path("/")], [])
