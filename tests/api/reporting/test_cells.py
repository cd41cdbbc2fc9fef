from __future__ import annotations

import pytest

from api.reporting.cells import visible
from records.listing.results import plain_cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "1.2.840", "Lung", "'=1"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert plain_cell(text) == text


def test_what_one_cannot_see_is_spelled_out() -> None:
    assert visible("a\u202eb\x00c\udcffd\ne") == r"a\u202eb\u0000c\udcffd\u000ae"
    assert visible("Größe 日本") == "Größe 日本"
