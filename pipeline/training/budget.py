"""The budget of a training: time that is spent stays spent, whoever goes on with it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipeline.training import ranks
from pipeline.training.checkpoint import Progress
from pipeline.training.fields.budget import BudgetField


class Stopwatch:
    """Counts on from what the checkpoint says was spent before."""

    def __init__(
        self, progress: Progress, budget: BudgetField | None, clock: Callable[[], float]
    ) -> None:
        """Begin to count; ``clock`` gives seconds, from anywhere."""
        self._progress = progress
        self._budget = budget
        self._clock = clock
        self._began = clock() - progress.seconds

    def note(self) -> None:
        """Note the time in the progress, for the checkpoint that is about to be written."""
        self._progress.seconds = self._clock() - self._began

    def is_spent(self, device: torch.device) -> bool:
        """Note the time; say whether the budget is used up, to all processes alike."""
        self.note()
        if self._budget is None:
            return False
        is_over = self._progress.seconds >= self._budget.seconds
        return ranks.any_of(is_so=is_over, device=device)
