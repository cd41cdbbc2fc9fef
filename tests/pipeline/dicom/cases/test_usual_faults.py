"""Where the usual readers answer wrongly without an error, ours is right or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.dicom.cases.case import Case, hold, named
from tests.pipeline.dicom.cases.usual_faults import CASES


@pytest.mark.parametrize("case", CASES, ids=named(CASES))
def test_the_answer_is_right_or_refused(case: Case, tmp_path: Path) -> None:
    hold(case, tmp_path)
