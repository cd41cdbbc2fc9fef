"""The reason codes and their table."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.reasons import Reason

TABLE = Path(__file__).parents[2] / "docs" / "reasons.md"


def test_the_table_for_readers_lists_every_code_once_and_no_other() -> None:
    listed = re.findall(r"^\| `([a-z_.]+)` \|", TABLE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(reason.value for reason in Reason)


def test_codes_are_lower_case_and_dotted() -> None:
    for reason in set(Reason) - {Reason.OK}:
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", reason.value), reason
