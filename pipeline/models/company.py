"""One answer for several jobs at once, with a bound on how long one waits for others.

Whoever comes first leads: it waits for the device, takes along what has come meanwhile, and answers
all of it. Only while others prepare what they ask, or where the pass before had more of them, does
it wait longer, never beyond ``PATIENCE``; a lone job does not wait at all.

All that can be done for several is done by whoever leads. Thirty threads that each do a little of
their own take turns with the one that computes, at every step of both, and cost as much as a small
network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar, cast

from pipeline.errors import DeadlineExceeded, Interrupted
from pipeline.models.devices import Device
from pipeline.models.predictor import Checkpoint

Asked = TypeVar("Asked")
Made = TypeVar("Made")
#: seconds that a pass waits, at most, for what is in preparation
PATIENCE: Final = 0.005
_SECONDS_BETWEEN_CHECKPOINTS: Final = 0.1


@dataclass(eq=False)
class _Request(Generic[Asked]):
    asked: Asked
    #: how many inputs they are
    count: int
    #: it failed in company, so that it is not known whose fault that was
    is_alone: bool = False
    is_answered: bool = False
    #: nobody waits for its answer any more
    is_gone: bool = False
    made: object = None
    #: free when there is an answer, or when it is this request's turn to lead. One for each, and of
    #: C: thirty threads that all wake for every answer cost as much as a small network
    wake: threading.Lock = field(default_factory=threading.Lock)


class Batcher(Generic[Asked, Made]):
    """What the threads of all jobs ask of one network on one device."""

    def __init__(
        self,
        answer: Callable[[Sequence[Asked], Checkpoint], Sequence[Made]],
        device: Device,
        *,
        most: int,
        patience: float = PATIENCE,
    ) -> None:
        """Take what answers several questions at once, in their order, while it has the device.

        Args:
            answer: is called with one or more questions, and fails or answers all of them.
            device: what is held meanwhile.
            most: inputs that are waited for, and gathered from several jobs.
            patience: seconds that are waited for others, at most.

        """
        self._answer = answer
        self._device = device
        self._most = most
        self._patience = patience
        self._lock = threading.Lock()
        #: what came, or will not come; only the leader waits for it
        self._arrived = threading.Condition(self._lock)
        self._waiting: list[_Request[Asked]] = []
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

    def ask(self, asked: Asked, *, count: int, checkpoint: Checkpoint) -> Made:
        """Return the answer to a question, given together with those of others if there are any.

        Args:
            asked: the question.
            count: of how many inputs it is.
            checkpoint: called while it waits, and by what answers.

        Raises:
            Interrupted, DeadlineExceeded: by ``checkpoint``; the other jobs are not touched.
            Exception: whatever the answer to this question alone raises.

        """
        request = _Request(asked, count)
        request.wake.acquire()
        with self._lock:
            self._waiting.append(request)
            self._tell_leader()
        try:
            while not request.is_answered:
                if self._takes_lead(request):
                    self._lead(request, checkpoint)
                elif not request.wake.acquire(timeout=_SECONDS_BETWEEN_CHECKPOINTS):
                    checkpoint()
        except BaseException:  # raised again: whoever gives up lets the next one lead
            self._leave(request)
            raise
        return cast("Made", request.made)

    def _leave(self, request: _Request[Asked]) -> None:
        """Forget a request that waits no longer; what it was woken for is the next one's."""
        with self._lock:
            request.is_gone = True
            if request in self._waiting:
                self._waiting.remove(request)
            self._wake_next()

    def _takes_lead(self, request: _Request[Asked]) -> bool:
        with self._lock:
            if self._is_led or request not in self._waiting:
                return False
            self._is_led = True
            return True

    def _lead(self, request: _Request[Asked], checkpoint: Checkpoint) -> None:
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
        if is_as_before or sum(one.count for one in self._waiting) >= self._most:
            self._arrived.notify()

    def _wake_next(self) -> None:
        if self._waiting and not self._is_led:
            _wake(self._waiting[0])

    def _gather(self, first: _Request[Asked]) -> list[_Request[Asked]]:
        """Take the requests of the next pass, ``first`` before all others."""
        with self._lock:
            self._arrived.wait_for(
                lambda: first.is_alone or self._is_enough(),
                timeout=self._patience,
            )
            group, count = [first], first.count
            for other in self._waiting:
                is_welcome = not (first.is_alone or other.is_alone or other is first)
                if is_welcome and count + other.count <= self._most:
                    group.append(other)
                    count += other.count
            for one in group:
                self._waiting.remove(one)
            self._met = len(group)
        return group

    def _is_enough(self) -> bool:
        fitting = [one.count for one in self._waiting if not one.is_alone]
        is_full = sum(fitting) >= self._most
        return is_full or (not self._coming and len(fitting) >= self._met)

    def _run(self, group: list[_Request[Asked]], checkpoint: Checkpoint) -> None:
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

    def _put_back(self, requests: Sequence[_Request[Asked]]) -> None:
        with self._lock:
            self._waiting[:0] = [one for one in requests if not one.is_gone]

    def _pass(self, group: Sequence[_Request[Asked]], checkpoint: Checkpoint) -> None:
        every = self._answer([one.asked for one in group], checkpoint)
        with self._lock:
            for one, made in zip(group, every, strict=True):
                one.made, one.is_answered = made, True
                _wake(one)


def _wake(request: _Request[Asked]) -> None:
    """Let a request go on; only with the lock of its batcher, so that none is woken twice."""
    if request.wake.locked():
        request.wake.release()
