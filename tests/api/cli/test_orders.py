"""What may be named as SOURCE on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli.orders import require_source
from api.cli.outcome import ExitCode, Problem


def test_a_place_in_a_bucket_is_left_to_the_workers() -> None:
    assert require_source("s3://exports/night 1") == "s3://exports/night 1"


def test_an_archive_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "export.tar").write_bytes(bytes(1024))
    (tmp_path / "link.tar").symlink_to("export.tar")
    assert require_source(str(tmp_path / "link.tar")) == str(tmp_path / "export.tar")


@pytest.mark.parametrize("given", ["gs://bucket/x", "s3://key:secret@bucket/x", "http://host/x"])
def test_another_kind_of_address_is_wrong_usage(given: str) -> None:
    with pytest.raises(Problem) as refused:
        require_source(given)
    assert refused.value.code is ExitCode.USAGE
    assert "secret" not in str(refused.value)


def test_nothing_is_nothing_to_analyse(tmp_path: Path) -> None:
    for given in (tmp_path, tmp_path / "gone"):
        with pytest.raises(Problem) as refused:
            require_source(str(given))
        assert refused.value.code is ExitCode.NOTHING_TO_ANALYSE
