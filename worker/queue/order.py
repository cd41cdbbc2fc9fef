"""In which order a worker asks the inference queues."""

from __future__ import annotations

from collections.abc import Iterable


class UrgentFirst:
    """Asks the queues in the order given, but every ``turn``-th time the last one first.

    Kombu's own "priority" strategy would let a steady flow of urgent work starve the routine
    queue for ever; its default alternates and lets urgent work wait. Kombu calls ``update``
    with the queues, ``consume`` before each BRPOP (which takes from the first queue that has
    something) and ``rotate`` after each message.
    """

    def __init__(self, it: Iterable[str] | None = None, turn: int = 5) -> None:
        self.items: list[str] = list(it or ())
        self.turn = turn
        self.taken = 0

    def update(self, it: Iterable[str]) -> None:
        """Take the names of the queues, most urgent first."""
        self.items[:] = it

    def consume(self, n: int) -> list[str]:
        """Return ``n`` names in the order to ask."""
        names = self.items[:n]
        return names[::-1] if self.taken % self.turn == self.turn - 1 else names

    def rotate(self, last_used: str) -> str:
        """Count one message taken."""
        self.taken += 1
        return last_used
