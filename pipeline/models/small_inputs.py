"""Small inputs of several jobs in one forward pass, with a bound on how long one waits for others.

A small network spends most of a pass on starting its layers, so thirty inputs together take little
longer than one. Whoever comes first leads: it waits for the device, takes along what has come for
the same network meanwhile, and hands out the answers. Only while other inputs are being prepared,
or where the pass before had more of them, does it wait longer, never beyond ``PATIENCE``; a lone
job does not wait at all.

Kernels are chosen by shape, so the company an input had may change its answer in the last digits of
a float32 (1e-6 of a score), as another number of threads does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar, cast

import torch
from torch import Tensor, nn

from pipeline.errors import DeadlineExceeded, Interrupted
from pipeline.models import sliding
from pipeline.models.beside import NOTHING, moved
from pipeline.models.devices import Device
from pipeline.models.predictor import Checkpoint

Made = TypeVar("Made")
#: seconds that a pass waits, at most, for inputs in preparation
PATIENCE: Final = 0.005
_SECONDS_BETWEEN_CHECKPOINTS: Final = 0.1
#: values of all inputs of a pass: what is larger gains nothing by company
_VALUES_TOGETHER: Final = 2**22
_MOST_TOGETHER: Final = 32


def together(size: Sequence[int]) -> int:
    """Return how many inputs of ``size`` share a pass where a model does not say."""
    values = 1
    for extent in size:
        values *= extent
    return max(1, min(_MOST_TOGETHER, _VALUES_TOGETHER // values))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the network says of the inputs of one job."""

    #: float32 on the CPU, (inputs, outputs)
    outputs: Tensor
    #: the plan that was possible in the end
    plan: sliding.Plan
    #: what had to be stepped down, in sentences
    warnings: tuple[str, ...]
    #: inputs of all jobs in the pass
    together: int
    #: seconds until the pass began, for what was prepared in it, and of the network
    waited: float
    prepared: float
    computed: float

    @property
    def seconds(self) -> dict[str, float]:
        """By stage, as run reports state them."""
        return {"preprocess": self.prepared, "wait": self.waited, "model": self.computed}


@dataclass(frozen=True, kw_only=True)
class Later:
    """Inputs that whoever leads the pass prepares: for small ones, which are prepared in no time.

    Thirty threads that each prepare their own would take turns with the one that computes, at
    every step of both, and cost as much as a small network.
    """

    #: (n, channels, *spatial)
    shape: tuple[int, ...]
    prepare: Callable[[], Tensor]


@dataclass(eq=False)
class _Request:
    inputs: Tensor | Later
    beside: Mapping[str, Tensor]
    #: makes of the answer what the job waits for; its failure is the job's own
    finish: Callable[[Answer], object]
    #: it failed in company, so that it is not known whose fault that was
    is_alone: bool = False
    made: object = None
    failure: Exception | None = None
    is_answered: bool = False
    asked: float = field(default_factory=time.perf_counter)
    #: set when there is an answer, or when it is this request's turn to lead. One for each: thirty
    #: threads that all wake for every answer cost as much as a small network
    wake: threading.Event = field(default_factory=threading.Event)

    def may_join(self, other: _Request) -> bool:
        """Say whether both can go into one tensor."""
        fits = self._shapes == other._shapes
        return fits and not self.is_alone and not other.is_alone

    @property
    def count(self) -> int:
        """How many inputs they are."""
        return self.inputs.shape[0]

    def prepared(self) -> Tensor:
        """Return the inputs."""
        return self.inputs.prepare() if isinstance(self.inputs, Later) else self.inputs

    def take(self, answer: Answer) -> None:
        """Make of the answer what was asked for, and wake whoever waits for it."""
        try:
            self.made = self.finish(answer)
        except Exception as failure:  # noqa: BLE001 - raised again where it was asked
            self.failure = failure
        self.is_answered = True
        self.wake.set()

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one input, and of what belongs to it."""
        every = {"": self.inputs, **self.beside}
        return {name: tuple(one.shape[1:]) for name, one in every.items()}


class Batcher:
    """One network on one device, shared by the threads of all jobs."""

    def __init__(
        self, network: nn.Module, plan: sliding.Plan, device: Device, *, patience: float = PATIENCE
    ) -> None:
        """Run up to ``plan.batch`` inputs at a time; wait up to ``patience`` seconds for others."""
        self._network = network
        self._plan = plan
        self._device = device
        self._patience = patience
        self._lock = threading.Lock()
        #: what came, or will not come; only the leader waits for it
        self._arrived = threading.Condition(self._lock)
        self._waiting: list[_Request] = []
        self._coming = 0
        self._is_led = False
        self._met = 1  # how many requests shared the last pass

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Say that inputs are in preparation for the block: a pass may wait for them."""
        with self._lock:
            self._coming += 1
        try:
            yield
        finally:
            with self._lock:
                self._coming -= 1
                self._tell_leader()

    def ask(
        self,
        inputs: Tensor | Later,
        *,
        checkpoint: Checkpoint,
        beside: Mapping[str, Tensor] = NOTHING,
    ) -> Answer:
        """Run inputs through the network, with others where there are any: see ``ask_for``."""
        return self.ask_for(lambda answer: answer, inputs, checkpoint=checkpoint, beside=beside)

    def ask_for(
        self,
        finish: Callable[[Answer], Made],
        inputs: Tensor | Later,
        *,
        checkpoint: Checkpoint,
        beside: Mapping[str, Tensor] = NOTHING,
    ) -> Made:
        """Run inputs through the network, with others where there are any.

        Args:
            finish: what is made of the answer, by whoever leads the pass: thirty threads that each
                make a little would take turns with the next pass. What it raises is raised here.
            inputs: (n, channels, *spatial), or what will make them.
            checkpoint: called while it waits, and before each pass.
            beside: what the network takes beside them, (n, ...) by argument.

        Returns:
            What ``finish`` returned.

        Raises:
            OutOfMemory: memory ran out for these inputs alone, after every step down.
            Interrupted, DeadlineExceeded: by ``checkpoint``; the other jobs are not touched.

        """
        request = _Request(inputs, beside, finish)
        with self._lock:
            self._waiting.append(request)
            self._tell_leader()
        try:
            while not request.is_answered:
                if self._takes_lead(request):
                    self._lead(request, checkpoint)
                elif not request.wake.wait(_SECONDS_BETWEEN_CHECKPOINTS):
                    checkpoint()
                else:
                    request.wake.clear()
        finally:
            self._leave(request)
        if request.failure is not None:
            raise request.failure
        return cast("Made", request.made)

    def _leave(self, request: _Request) -> None:
        """Forget a request that waits no longer; what it was woken for is the next one's."""
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)
            self._wake_next()

    def _takes_lead(self, request: _Request) -> bool:
        with self._lock:
            if self._is_led or request not in self._waiting:
                return False
            self._is_led = True
            return True

    def _lead(self, request: _Request, checkpoint: Checkpoint) -> None:
        try:
            with self._device.hold(checkpoint):
                self._run(self._gather(request), checkpoint)
        finally:
            with self._lock:
                self._is_led = False
                self._wake_next()

    def _tell_leader(self) -> None:
        """Wake the leader where that may end its wait, not for each of thirty arrivals."""
        is_as_before = not self._coming and len(self._waiting) >= self._met
        if is_as_before or sum(one.count for one in self._waiting) >= self._plan.batch:
            self._arrived.notify()

    def _wake_next(self) -> None:
        if self._waiting and not self._is_led:
            self._waiting[0].wake.set()

    def _gather(self, first: _Request) -> list[_Request]:
        """Take the requests of the next pass, ``first`` before all others."""
        with self._lock:
            self._arrived.wait_for(
                lambda: first.is_alone or self._is_enough(first),
                timeout=self._patience,
            )
            group = [first]
            for other in self._waiting:
                count = sum(one.count for one in group) + other.count
                if other is not first and first.may_join(other) and count <= self._plan.batch:
                    group.append(other)
            for one in group:
                self._waiting.remove(one)
            self._met = len(group)
        return group

    def _is_enough(self, first: _Request) -> bool:
        fitting = [one.count for one in self._waiting if first.may_join(one)]
        is_full = sum(fitting) >= self._plan.batch
        return is_full or (not self._coming and len(fitting) >= self._met)

    def _run(self, group: list[_Request], checkpoint: Checkpoint) -> None:
        """Answer a group. What goes wrong in company is looked at again, each request alone."""
        first, others = group[0], group[1:]
        try:
            self._pass(group, checkpoint)
        except (Interrupted, DeadlineExceeded):
            self._put_back(others)
            raise
        except Exception:
            # whichever input it was, the others must not fail with it: each is tried again alone
            if not others:
                raise
            for one in group:
                one.is_alone = True
            self._put_back(others)
            self._pass([first], checkpoint)

    def _put_back(self, requests: Sequence[_Request]) -> None:
        with self._lock:
            self._waiting[:0] = requests

    def _pass(self, group: Sequence[_Request], checkpoint: Checkpoint) -> None:
        began = time.perf_counter()
        inputs = torch.cat([one.prepared() for one in group])
        prepared = time.perf_counter() - began
        besides = {name: torch.cat([one.beside[name] for one in group]) for name in group[0].beside}
        plan = replace(self._plan, batch=min(self._plan.batch, len(inputs)))
        outputs, used, warnings = sliding.step_down(
            plan, lambda tried: self._forward(inputs, besides, tried, checkpoint)
        )
        computed = time.perf_counter() - began - prepared
        parts = torch.split(outputs, [one.count for one in group])
        for one, part in zip(group, parts, strict=True):
            one.take(
                Answer(
                    outputs=part,
                    plan=used,
                    warnings=warnings,
                    together=len(inputs),
                    waited=began - one.asked,
                    prepared=prepared,
                    computed=computed,
                )
            )

    def _forward(
        self,
        inputs: Tensor,
        besides: Mapping[str, Tensor],
        plan: sliding.Plan,
        checkpoint: Checkpoint,
    ) -> Tensor:
        network = sliding.on(self._network, plan, self._plan)
        besides = moved(besides, plan.device, plan.dtype)
        found = []
        for first in range(0, len(inputs), plan.batch):
            checkpoint()
            rows = slice(first, first + plan.batch)
            with_them = {name: one[rows] for name, one in besides.items()}
            answer = network(inputs[rows].to(plan.device, plan.dtype), **with_them)
            found.append(answer.float().cpu())
        return torch.cat(found)
