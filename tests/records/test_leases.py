"""Back-off grows, is capped and spread."""

from __future__ import annotations

import pytest

from records import leases
from tests.records.conftest import AT


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 2), (1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (1000, 60)]
)
def test_back_off_doubles_up_to_a_minute_give_or_take_half(attempt: int, seconds: int) -> None:
    waits = [(leases.backoff(attempt, AT) - AT).total_seconds() for _ in range(50)]

    assert all(seconds * 0.5 <= wait <= seconds * 1.5 for wait in waits)
    assert len(set(waits)) > 1
