"""Sources that are no paths."""

from __future__ import annotations

import pytest

from api import addresses


@pytest.mark.parametrize("given", ["export", "/data/export", "./s3:/x", "C:/export", "s3:/bucket"])
def test_a_path_is_no_address(given: str) -> None:
    assert not addresses.is_address(given)


@pytest.mark.parametrize("given", ["s3://exports", "s3://exports/", "s3://exports/2026/night 1"])
def test_a_place_in_a_bucket_is_one(given: str) -> None:
    assert addresses.is_address(given)
    assert addresses.fault_of(given) is None


@pytest.mark.parametrize(
    "given",
    [
        "s3://",
        "s3:///prefix",
        "s3://key:secret@bucket/prefix",
        "s3://Bucket/x",
        "s3://bucket/a/../b",
        "gs://bucket/x",
        "http://host/x",
        "file:///etc",
        "zip://x::s3://bucket/y",
    ],
)
def test_other_addresses_are_named_wrong(given: str) -> None:
    assert addresses.is_address(given)
    assert addresses.fault_of(given) is not None


def test_a_prefix_admits_what_lies_below_it_and_no_neighbour() -> None:
    admitted = ["s3://exports/ct", "s3://other/"]
    for given in ("s3://exports/ct", "s3://exports/ct/", "s3://exports/ct/1", "s3://other"):
        assert addresses.is_below(given, admitted), given
    for given in ("s3://exports", "s3://exports/ct2", "s3://exports/c", "s3://others/x"):
        assert not addresses.is_below(given, admitted), given
    assert not addresses.is_below("s3://exports/ct", [])
