from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.cli.printing import Counter


def test_a_count_is_told_now_and_then_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times: Iterator[float] = iter([0.0, 5.0, 11.0, 11.0, 12.0])
    counter = Counter(lambda: next(times))
    for read in (1, 2, 3):
        counter.show(f"{read} of 3 cases")
    counter.end()
    assert capsys.readouterr().err == "2 of 3 cases\n"
