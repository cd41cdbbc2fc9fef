"""Operators of an ONNX file are found without a library for it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.intake.onnx import custom_domains


def field(number: int, content: bytes) -> bytes:
    length = len(content)
    size = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    return bytes([number << 3 | 2]) + size + content


def model(*domains: str, graph: bytes = b"") -> bytes:
    version = b"\x08\x08"  # ir_version = 8
    sets = b"".join(field(8, field(1, name.encode()) + b"\x10\x11") for name in domains)
    return version + field(2, b"pytorch") + field(7, graph) + sets


@pytest.mark.parametrize(
    ("domains", "custom"),
    [
        ((), []),
        (("", "ai.onnx", "ai.onnx.ml"), []),
        (("", "com.microsoft"), ["com.microsoft"]),
        (("x" * 300,), ["x" * 100]),
    ],
)
def test_domains_of_others_are_named(domains: tuple[str, ...], custom: list[str]) -> None:
    graph = bytes(12_000)  # longer than what is looked into
    assert custom_domains(io.BytesIO(model(*domains, graph=graph))) == custom


@given(st.binary(max_size=200))
def test_other_bytes_have_none_or_some_but_never_raise(content: bytes) -> None:
    assert isinstance(custom_domains(io.BytesIO(content)), list)
