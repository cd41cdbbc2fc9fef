"""What images of the field hold is read by the rules of the field, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.dicom.cases.case import Case, hold, named
from tests.pipeline.dicom.cases.field_rules import CASES


@pytest.mark.parametrize("case", CASES, ids=named(CASES))
def test_the_rule_holds(case: Case, tmp_path: Path) -> None:
    hold(case, tmp_path)
