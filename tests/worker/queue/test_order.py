from __future__ import annotations

from worker.queue.order import UrgentFirst

QUEUES = ["infer.stat", "infer.urgent", "infer.routine"]


def test_urgent_queues_are_asked_first_and_routine_is_not_starved() -> None:
    cycle = UrgentFirst(QUEUES)
    first_asked = []
    for _ in range(10):
        asked = cycle.consume(3)
        assert sorted(asked) == sorted(QUEUES)
        first_asked.append(asked[0])
        cycle.rotate(asked[0])
    assert first_asked.count("infer.stat") == 8
    assert first_asked.count("infer.routine") == 2
