"""Jobs that come together are answered together and share nothing else: no faults, no stops."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import pytest

from pipeline.errors import Interrupted
from pipeline.models.company import Batcher
from pipeline.models.devices import Device
from pipeline.models.predictor import Checkpoint
from tests.pipeline.models.tiny import at_once, go_on

Numbers = Sequence[float]


class Sum:
    """Answers with the sum of each question's numbers; remembers what came at once, and to whom."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.led_by: set[int] = set()

    def __call__(self, asked: Sequence[Numbers], checkpoint: Checkpoint) -> list[float]:
        checkpoint()
        self.seen.append(sum(map(len, asked)))
        self.led_by.add(threading.get_ident())
        if any(math.isnan(number) for one in asked for number in one):
            raise ValueError("a broken input")
        return [sum(one) for one in asked]


def batcher(answer: Sum, *, most: int = 8, patience: float = 5.0) -> Batcher[Numbers, float]:
    return Batcher(answer, Device(), most=most, patience=patience)


def ask(shared: Batcher[Numbers, float], *numbers: float, checkpoint: Checkpoint = go_on) -> float:
    return shared.ask(numbers, count=len(numbers), checkpoint=checkpoint)


def company(shared: Batcher[Numbers, float], every: Sequence[Numbers]) -> list[object]:
    """Ask all questions from threads that are prepared at the same time."""
    ready = threading.Barrier(len(every))

    def prepared(numbers: Numbers) -> float:
        with shared.coming():
            ready.wait(30)
        return ask(shared, *numbers)

    return at_once(*(lambda numbers=numbers: prepared(numbers) for numbers in every))


def test_jobs_that_come_together_are_answered_by_one_of_them_each_with_its_own() -> None:
    answer = Sum()
    assert company(batcher(answer), [(n, 10 * n) for n in range(4)]) == [0, 11, 22, 33]
    assert answer.seen == [8]
    assert len(answer.led_by) == 1


def test_no_more_are_gathered_than_may_be() -> None:
    answer = Sum()
    shared = batcher(answer, most=3, patience=0.05)
    assert company(shared, [(n,) for n in range(7)]) == list(range(7))
    assert max(answer.seen) <= 3
    assert sum(answer.seen) == 7


def test_a_job_that_asks_for_more_than_may_be_is_answered_alone() -> None:
    answer = Sum()
    assert company(batcher(answer, most=3, patience=0.05), [range(5), (7.0,)]) == [10, 7]
    assert sorted(answer.seen) == [1, 5]


def test_a_lone_job_does_not_wait() -> None:
    began = time.perf_counter()
    assert ask(batcher(Sum(), patience=60), 1, 2) == 3
    assert time.perf_counter() - began < 1.0


def test_nobody_is_waited_for_beyond_the_bound() -> None:
    shared = batcher(Sum(), patience=0.05)
    began = time.perf_counter()
    with shared.coming():
        assert ask(shared, 1) == 1
    assert 0.04 < time.perf_counter() - began < 1.0


def test_a_pass_begins_when_it_is_full_whatever_else_is_coming() -> None:
    shared = batcher(Sum(), most=2, patience=60)
    began = time.perf_counter()
    with shared.coming():
        assert at_once(lambda: ask(shared, 1), lambda: ask(shared, 2)) == [1, 2]
    assert time.perf_counter() - began < 30


def test_a_pass_begins_when_nothing_is_coming_any_more() -> None:
    shared = batcher(Sum(), patience=60)
    said: list[float] = []
    asking = threading.Thread(target=lambda: said.append(ask(shared, 1)), daemon=True)
    with shared.coming():
        asking.start()
        time.sleep(0.1)
        assert not said
    asking.join(30)
    assert said == [1]


@pytest.mark.parametrize("place", range(3))
def test_a_broken_input_is_the_fault_of_its_job_alone(place: int) -> None:
    answer = Sum()
    every: list[Numbers] = [(1,), (2,)]
    every.insert(place, (math.nan,))
    said = company(batcher(answer), every)
    assert isinstance(said.pop(place), ValueError)
    assert said == [1, 2]
    assert answer.seen == [3, 1, 1, 1]  # they had met, and were tried again alone


def test_a_job_that_is_stopped_while_it_waits_harms_nobody() -> None:
    started, go = threading.Event(), threading.Event()

    class Slow(Sum):
        def __call__(self, asked: Sequence[Numbers], checkpoint: Checkpoint) -> list[float]:
            started.set()
            assert go.wait(30)
            return super().__call__(asked, checkpoint)

    shared = batcher(Slow(), patience=0.0)

    def stop() -> None:
        go.set()
        raise Interrupted("canceled")

    def second() -> float:
        assert started.wait(30)
        return ask(shared, 2, checkpoint=stop)

    said = at_once(lambda: ask(shared, 1), second)
    assert said[0] == 1
    assert isinstance(said[1], Interrupted)
    assert ask(shared, 3) == 3


def test_a_job_that_gave_up_while_its_pass_failed_does_not_come_back() -> None:
    meeting, gone = threading.Event(), threading.Event()

    class Fails(Sum):
        def __call__(self, asked: Sequence[Numbers], checkpoint: Checkpoint) -> list[float]:
            if len(asked) > 1:
                meeting.set()
                assert gone.wait(30)
            return super().__call__(asked, checkpoint)

    shared = batcher(Fails(), most=2)

    def give_up() -> None:
        if meeting.is_set():
            raise Interrupted("canceled")

    ready = threading.Barrier(2)

    def leads() -> float:
        assert ready.wait(30) >= 0
        return ask(shared, math.nan)

    def gives_up() -> float:
        with shared.coming():  # so that the other waits for it
            ready.wait(30)
            time.sleep(0.05)
            try:
                return ask(shared, 2, checkpoint=give_up)
            finally:
                gone.set()

    said = at_once(leads, gives_up)
    assert isinstance(said[0], ValueError)
    assert isinstance(said[1], Interrupted)
    assert not shared._waiting
    assert ask(shared, 3) == 3


def test_a_leader_that_is_stopped_leaves_the_others_to_the_next() -> None:
    answer = Sum()
    shared = batcher(answer, most=2, patience=0.2)
    was_led: list[bool] = []

    def stop() -> None:
        was_led.append(True)
        raise Interrupted("canceled")

    def second() -> float:
        time.sleep(0.02)
        return ask(shared, 2)

    for _ in range(20):  # until the one that is stopped came first
        with shared.coming():  # so that it waits for the other
            said = at_once(lambda: ask(shared, 1, checkpoint=stop), second)
        assert isinstance(said[0], Interrupted) or said[0] == 1
        assert said[1] == 2
        if was_led:
            break
    assert was_led
    assert answer.seen[-1] == 1  # the other one was answered alone


def test_jobs_that_come_again_and_again_are_all_answered() -> None:
    answer = Sum()
    shared = batcher(answer, most=5, patience=0.001)

    def many(first: int) -> list[float]:
        return [ask(shared, number) for number in range(first, first + 50)]

    said = at_once(*(lambda first=first: many(first) for first in range(0, 400, 50)))
    assert said == [list(range(first, first + 50)) for first in range(0, 400, 50)]
    assert sum(answer.seen) == 400
    assert max(answer.seen) <= 5
