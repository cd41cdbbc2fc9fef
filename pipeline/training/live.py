"""What is told while a model learns: lines for whoever listens, curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.training import course
from pipeline.training.board import Board
from pipeline.training.checkpoint import Epoch
from pipeline.training.controls import EpochReport, StepReport

Say = Callable[[Mapping[str, Any]], None]

#: between two lines about steps
_SECONDS_BETWEEN_LINES: Final = 1.0


@dataclass
class _Pace:
    """How fast it goes since a moment."""

    since: float
    cases: int = 0

    def rate(self, at: float) -> float | None:
        """Return cases per second."""
        return self.cases / (at - self.since) if at > self.since else None


class Live:
    """Puts the reports of the loop into words, with the time that the loop does not know."""

    def __init__(
        self, say: Say, clock: Callable[[], float], board: Board | None, *, checkpoint_every: float
    ) -> None:
        """Begin to watch.

        Args:
            say: takes each event.
            clock: seconds, from anywhere.
            board: None = no curves for TensorBoard.
            checkpoint_every: seconds between two checkpoints inside an epoch.

        """
        self._say = say
        self._clock = clock
        self._board = board
        self._every = checkpoint_every
        now = clock()
        self._saved, self._line, self._stepped = now, now, now
        self._epoch_pace, self._line_pace = _Pace(now), _Pace(now)
        #: share of the training that was done at a moment, to tell what is left from
        self._start: tuple[float, float] | None = None

    def is_due(self) -> bool:
        """Say whether it is time for a checkpoint; asked once, it is not until much later."""
        now = self._clock()
        if now < self._saved + self._every:
            return False
        self._saved = now
        return True

    def on_step(self, report: StepReport) -> None:
        """Tell where in its epoch the training is, now and then."""
        now = self._clock()
        self._stepped = now
        self._epoch_pace.cases += report.cases
        self._line_pace.cases += report.cases
        if now < self._line + _SECONDS_BETWEEN_LINES:
            return
        done = report.epoch + report.step / report.steps
        self._say(
            {
                "event": "step",
                "epoch": report.epoch,
                "epochs": report.epochs,
                "batch": report.step,
                "batches": report.steps,
                "loss": next(iter(report.losses.values())),
                "cases_per_second": _rounded(self._line_pace.rate(now)),
                "seconds_left": self._left(done / report.epochs, now),
            }
        )
        if self._board is not None:
            batches = {f"batch/{name}": value for name, value in report.losses.items()}
            self._board.add(batches, report.epoch * report.steps + report.step)
        self._line, self._line_pace = now, _Pace(now)

    def on_epoch(self, report: EpochReport) -> None:
        """Tell what the epoch came to, and the curve so far."""
        now, last = self._clock(), report.history[-1]
        speed = self._epoch_pace.rate(self._stepped)
        self._say(
            {
                "event": "epoch",
                "epoch": report.epoch,
                "epochs": report.epochs,
                "batch": 0,
                "loss": last.loss,
                "losses": last.losses,
                "score": last.score,
                "best_score": report.best_score,
                "learning_rate": last.learning_rate,
                "seconds": _rounded(now - self._epoch_pace.since),
                "cases_per_second": _rounded(speed),
                "seconds_left": self._left(report.epoch / report.epochs, now),
                "curve": course.curve(report.history),
            }
        )
        if self._board is not None:
            self._board.add(_points(last, speed), report.epoch * report.steps)
        self._saved, self._line = now, now
        self._epoch_pace, self._line_pace = _Pace(now), _Pace(now)

    def _left(self, done: float, now: float) -> float | None:
        """Return the seconds that are left if it goes on as since this process began."""
        if self._start is None:
            self._start = (done, now)
        share, began = self._start
        return _rounded((now - began) * (1.0 - done) / (done - share)) if done > share else None


def _points(epoch: Epoch, speed: float | None) -> dict[str, float]:
    points = {f"epoch/{name}": value for name, value in epoch.losses.items()}
    points["epoch/learning_rate"] = epoch.learning_rate
    if epoch.score is not None:
        points["epoch/score"] = epoch.score
    if speed is not None:
        points["epoch/cases_per_second"] = speed
    return points


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
