"""The published verdicts on real series are those of the program."""

from __future__ import annotations

from pathlib import Path

from bench import verdicts
from tests.data import shared

DOCUMENT = Path(__file__).parents[2] / "docs" / "verdicts.md"


def test_the_document_says_what_the_program_says() -> None:
    assert verdicts.report(shared("dicom")).strip() == DOCUMENT.read_text().strip()
