"""Our patterns find what Python's expressions find, and take no longer for bad ones."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.patterns import LONGEST_PATTERN, PatternInvalid, compiled

_ATOMS = st.sampled_from(
    [
        "a",
        "B",
        "1",
        " ",
        ".",
        r"\.",
        r"\d",
        r"\W",
        r"\s",
        "[a-c]",
        "[^b1]",
        r"[\d_-]",
        r"\b",
        "^",
        "$",
    ]
)
_REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,}", "{0,3}", "+?"])


def _patterns() -> st.SearchStrategy[str]:
    pieces = st.recursive(
        _ATOMS.flatmap(
            lambda atom: st.just(atom) if atom in "^$" or atom == r"\b" else _repeated(atom)
        ),
        lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(_grouped),
        max_leaves=6,
    )
    return st.lists(pieces, max_size=4).map("".join)


def _repeated(atom: str) -> st.SearchStrategy[str]:
    return _REPEATS.map(lambda repeat: atom + repeat)


def _grouped(pieces: list[str]) -> st.SearchStrategy[str]:
    joined = st.sampled_from(["", "|"]).map(lambda between: between.join(pieces))
    return st.tuples(joined, _REPEATS).map(lambda made: f"({made[0]}){made[1]}")


@given(_patterns(), st.text("aAbBc1_-. ", max_size=12))
def test_a_pattern_finds_what_python_finds(pattern: str, text: str) -> None:
    assert compiled(pattern).is_found_in(text) == bool(re.search(pattern, text, re.IGNORECASE))


@pytest.mark.parametrize("pattern", [r"(a*)*b", r"(a|a)+b", r"(.*){20}b", ".*" * 30 + "b"])
def test_what_runs_away_elsewhere_takes_linear_time(pattern: str) -> None:
    began = time.perf_counter()
    assert not compiled(pattern).is_found_in("a" * 64)
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a", "not closed"),
        ("a)", "no bracket"),
        ("[a", "breaks off"),
        ("*a", "repeats nothing"),
        ("a**", "repeated already"),
        ("a{3,2}", "upwards"),
        ("a{1000}", "64 at most"),
        ("a{x}", "counted as"),
        (r"(a)\1", "no part of the language"),
        ("(?=a)", "only"),
        ("[z-a]", "downwards"),
        ("((a{60}){60}){60}", "too large"),
        ("(" * 30 + ")" * 30, "too deeply"),
        ("a" * (LONGEST_PATTERN + 1), "at most"),
    ],
)
def test_what_is_no_pattern_is_refused_in_a_sentence(pattern: str, said: str) -> None:
    with pytest.raises(PatternInvalid, match=said):
        compiled(pattern)
