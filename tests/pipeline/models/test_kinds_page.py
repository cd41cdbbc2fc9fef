"""docs/kinds.md names what there is, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from pipeline.asking import Method, Uncertainty
from pipeline.models import networks
from pipeline.models.spec import Kind

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "kinds.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    _, _, below = PAGE.partition(f"\n## {heading}\n")
    lines = [line for line in below.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_network_of_the_table_stands_on_the_page_once_and_no_other() -> None:
    listed = [name for row in rows("Networks by name") for name in names(row[-1])]
    assert sorted(listed) == sorted(networks.TABLE)


def test_each_network_answers_for_the_kinds_and_axes_that_the_page_says() -> None:
    for kinds, axes, _, named in rows("Networks by name"):
        for name in names(named):
            row = networks.TABLE[name]
            assert kinds.split(", ") == sorted(row.kinds, reverse=True), name
            assert axes == ", ".join(f"{count}-D" for count in row.axes), name


def test_every_explanation_stands_on_the_page_and_no_other() -> None:
    listed = [name for row in rows("Explanations") for name in names(row[0])]
    assert sorted(listed) == sorted(get_args(Method))


def test_every_way_to_say_how_sure_a_model_is_stands_on_the_page_and_no_other() -> None:
    listed = [name for row in rows("Uncertainty") for name in names(row[0])]
    assert sorted(listed) == sorted(field.name for field in dataclasses.fields(Uncertainty))


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_model_is_spoken_of(kind: Kind) -> None:
    assert kind.value in PAGE


def test_every_picture_is_there_small_and_shown() -> None:
    shown = re.findall(r"\]\((images/kinds/[^)]+)\)", PAGE)
    files = sorted(str(path.relative_to(DOCS)) for path in DOCS.glob("images/kinds/*"))
    assert sorted(shown) == files
    sizes = [(DOCS / name).stat().st_size for name in shown]
    assert max(sizes) <= 60_000
    assert sum(sizes) <= 1_000_000
