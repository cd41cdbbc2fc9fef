"""Small inputs of several jobs share a pass and nothing else: no faults, no stops, no time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import Interrupted
from pipeline.models import sliding
from pipeline.models.devices import Device
from pipeline.models.small_inputs import Answer, Batcher, Later, together
from tests.pipeline.models.tiny import go_on


class Sum(nn.Module):
    """Answers with the sum of each input; remembers how many came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(len(inputs))
        if inputs.isnan().any():
            raise ValueError("a broken input")
        return inputs.flatten(1).sum(1, keepdim=True)


def batcher(network: nn.Module, *, batch: int = 8, patience: float = 5.0) -> Batcher:
    device = Device()
    plan = sliding.Plan(size=(2, 2), overlap=0.0, batch=batch, device=device.torch)
    return Batcher(network, plan, device, patience=patience)


def at_once(*asks: Callable[[], object]) -> list[object]:
    """Run each in a thread of its own; return what each said or raised."""
    said: list[object] = [None] * len(asks)

    def run(number: int) -> None:
        try:
            said[number] = asks[number]()
        except Exception as error:  # noqa: BLE001, it is what the test looks at
            said[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return said


def company(shared: Batcher, inputs: Sequence[Tensor | Later]) -> list[object]:
    """Ask for all inputs from threads that are prepared at the same time."""
    ready = threading.Barrier(len(inputs))

    def ask(mine: Tensor | Later) -> Answer:
        with shared.coming():
            ready.wait(30)
        return shared.ask(mine, checkpoint=go_on)

    return at_once(*(lambda mine=mine: ask(mine) for mine in inputs))


def filled(value: float, count: int = 1, size: int = 2) -> Tensor:
    return torch.full((count, 1, size, size), value)


def outputs(said: object) -> list[float]:
    assert isinstance(said, Answer), said
    return said.outputs.flatten().tolist()


def test_jobs_that_come_together_share_a_pass_and_get_their_own_answers() -> None:
    network = Sum()
    said = company(batcher(network), [filled(n, count=2) for n in range(4)])
    assert [outputs(one) for one in said] == [[4.0 * n] * 2 for n in range(4)]
    assert network.seen == [8]
    assert {one.together for one in said if isinstance(one, Answer)} == {8}


def test_a_pass_holds_no_more_than_a_batch() -> None:
    network = Sum()
    said = company(batcher(network, batch=3), [filled(n) for n in range(7)])
    assert [outputs(one) for one in said] == [[4.0 * n] for n in range(7)]
    assert max(network.seen) <= 3
    assert sum(network.seen) == 7


def test_inputs_of_other_shapes_do_not_meet() -> None:
    network = Sum()
    said = company(batcher(network, patience=0.01), [filled(1), filled(1, size=3), filled(2)])
    assert [outputs(one) for one in said] == [[4.0], [9.0], [8.0]]


class Shifted(Sum):
    """Adds to the sum of each input what it is given beside it."""

    def forward(self, inputs: Tensor, shift: Tensor | None = None) -> Tensor:
        total = super().forward(inputs)
        return total if shift is None else total + shift


def test_inputs_take_along_what_belongs_to_them_and_meet_none_without() -> None:
    network = Shifted()
    shared = batcher(network, patience=0.5)
    ready = threading.Barrier(4)

    def ask(value: float, **beside: Tensor) -> Answer:
        with shared.coming():
            ready.wait(30)
        return shared.ask(filled(value, count=2), checkpoint=go_on, beside=beside)

    shifts = [torch.tensor([[10.0 * n], [20.0 * n]]) for n in range(1, 4)]
    asks = [lambda n=n: ask(n, shift=shifts[n - 1]) for n in range(1, 4)]
    for _ in range(20):  # until those that can have met
        *told, plain = at_once(*asks, lambda: ask(7))
        assert [outputs(one) for one in told] == [[14.0, 24.0], [28.0, 48.0], [42.0, 72.0]]
        assert outputs(plain) == [28.0, 28.0]
        if 6 in network.seen:
            break
    assert max(network.seen) == 6


def test_a_pass_that_is_larger_than_a_batch_gives_each_input_its_own() -> None:
    network = Shifted()
    shift = torch.arange(5.0)[:, None]
    answer = batcher(network, batch=2).ask(
        filled(1, count=5), checkpoint=go_on, beside={"shift": shift}
    )
    assert outputs(answer) == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert network.seen == [2, 2, 1]


def test_a_lone_job_does_not_wait() -> None:
    began = time.perf_counter()
    answer = batcher(Sum()).ask(filled(1), checkpoint=go_on)
    assert time.perf_counter() - began < 1.0
    assert answer.together == 1


def test_nobody_is_waited_for_beyond_the_bound() -> None:
    shared = batcher(Sum(), patience=0.05)
    with shared.coming():
        answer = shared.ask(filled(1), checkpoint=go_on)
    assert 0.04 < answer.waited < 1.0


def test_a_pass_begins_when_its_batch_is_full_whatever_else_is_coming() -> None:
    shared = batcher(Sum(), batch=2, patience=60)
    with shared.coming():
        said = at_once(*(lambda n=n: shared.ask(filled(n), checkpoint=go_on) for n in (1, 2)))
    assert [outputs(one) for one in said] == [[4.0], [8.0]]
    assert all(isinstance(one, Answer) and one.waited < 30 for one in said)


def test_a_pass_begins_when_nothing_is_coming_any_more() -> None:
    shared = batcher(Sum(), patience=60)
    said: list[Answer] = []
    asking = threading.Thread(
        target=lambda: said.append(shared.ask(filled(1), checkpoint=go_on)), daemon=True
    )
    with shared.coming():
        asking.start()
        time.sleep(0.1)
        assert not said
    asking.join(30)
    assert [outputs(one) for one in said] == [[4.0]]


def test_a_broken_input_is_the_fault_of_its_job_alone() -> None:
    network = Sum()
    said = company(batcher(network), [filled(1), filled(float("nan")), filled(2)])
    assert outputs(said[0]) == [4.0]
    assert isinstance(said[1], ValueError)
    assert outputs(said[2]) == [8.0]
    assert max(network.seen) == 3  # they had met


def test_what_is_made_of_answers_is_made_by_one_thread_and_its_failure_is_its_jobs_own() -> None:
    network = Sum()
    shared = batcher(network, patience=0.5)
    ready = threading.Barrier(3)
    made_by: list[int] = []

    def ask(value: float) -> float:
        with shared.coming():
            ready.wait(30)

        def finish(answer: Answer) -> float:
            made_by.append(threading.get_ident())
            if value == 2.0:
                raise ArithmeticError("of this job alone")
            return float(answer.outputs) + 1.0

        return shared.ask_for(finish, filled(value), checkpoint=go_on)

    said = at_once(*(lambda value=value: ask(value) for value in (1.0, 2.0, 3.0)))
    assert said[0] == 5.0
    assert isinstance(said[1], ArithmeticError)
    assert said[2] == 13.0
    assert len(made_by) == 3
    assert len(set(made_by)) == len(network.seen)  # one thread for each pass


def test_a_job_that_is_stopped_while_it_waits_harms_nobody() -> None:
    started, go = threading.Event(), threading.Event()

    class Slow(Sum):
        def forward(self, inputs: Tensor) -> Tensor:
            started.set()
            assert go.wait(30)
            return super().forward(inputs)

    shared = batcher(Slow(), patience=0.0)

    def second() -> Answer:
        assert started.wait(30)

        def stop() -> None:
            go.set()
            raise Interrupted("canceled")

        return shared.ask(filled(2), checkpoint=stop)

    said = at_once(lambda: shared.ask(filled(1), checkpoint=go_on), second)
    assert outputs(said[0]) == [4.0]
    assert isinstance(said[1], Interrupted)
    assert outputs(shared.ask(filled(3), checkpoint=go_on)) == [12.0]


def test_a_leader_that_is_stopped_leaves_the_others_to_the_next() -> None:
    network = Sum()
    shared = batcher(network)
    ready = threading.Barrier(2)

    def ask(value: float, *, is_stopped: bool) -> Answer:
        with shared.coming():
            ready.wait(30)

        def checkpoint() -> None:
            if is_stopped:
                raise Interrupted("canceled")

        return shared.ask(filled(value), checkpoint=checkpoint)

    for _ in range(20):  # whichever of the two leads
        said = at_once(
            lambda: ask(1, is_stopped=True),
            lambda: ask(2, is_stopped=False),
        )
        assert isinstance(said[0], Interrupted | Answer)
        assert outputs(said[1]) == [8.0]


def test_a_pass_that_runs_out_of_memory_steps_down_and_says_so() -> None:
    class Hungry(Sum):
        def forward(self, inputs: Tensor) -> Tensor:
            if len(inputs) > 2:
                raise MemoryError
            return super().forward(inputs)

    said = company(batcher(Hungry()), [filled(n) for n in range(4)])
    assert [outputs(one) for one in said] == [[4.0 * n] for n in range(4)]
    for one in said:
        assert isinstance(one, Answer)
        assert one.plan.batch == 2
        assert one.warnings == ("memory ran out with 4 windows at a time on the cpu",)


@pytest.mark.parametrize(
    ("size", "count"),
    [((1, 64, 64), 32), ((3, 512, 512), 5), ((1, 96, 96, 96), 4), ((3000,) * 2, 1)],
)
def test_the_larger_the_inputs_the_fewer_share_a_pass(size: tuple[int, ...], count: int) -> None:
    assert together(size) == count


def later(value: float, asked: list[int]) -> Later:
    def prepare() -> Tensor:
        asked.append(threading.get_ident())
        if value < 0:
            raise ValueError("cannot be prepared")
        return filled(value)

    return Later(shape=(1, 1, 2, 2), prepare=prepare)


def test_who_leads_prepares_what_comes_later_for_all() -> None:
    network, asked = Sum(), list[int]()
    said = company(batcher(network), [later(n, asked) for n in range(5)])
    assert [outputs(one) for one in said] == [[4.0 * n] for n in range(5)]
    assert network.seen == [5]
    assert len(set(asked)) == 1


def test_what_cannot_be_prepared_costs_one_job() -> None:
    said = company(batcher(Sum()), [later(value, []) for value in (1, -1, 2, 3)])
    assert isinstance(said[1], ValueError)
    assert [outputs(one) for one in said[:1] + said[2:]] == [[4.0], [8.0], [12.0]]
