"""What the process of a training has said: kept for those who watch, and read at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.errors import ComputeFailed, Interrupted, TrainingRefused
from pipeline.reasons import Reason
from records import trainings
from records.database import unit_of_work
from worker.flights import Flight
from worker.services import Services
from worker.training.process import PREEMPTED

#: rows are written at most so often while epochs are short
SECONDS_BETWEEN_NOTES: Final = 0.5


@dataclass
class Heard:
    """What the process has said so far."""

    progress: dict[str, Any] = field(default_factory=dict)
    snapshot: str | None = None
    end: Mapping[str, Any] | None = None
    is_news: bool = False
    #: when the row was last written (monotonic)
    noted: float = -SECONDS_BETWEEN_NOTES

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one line in."""
        said = {name: value for name, value in event.items() if name != "event"}
        match event["event"]:
            case "snapshot":
                self.snapshot = str(event["digest"])
                self.progress["cases"] = event["cases"]
            case "phase" | "step" | "epoch" | "recipe":
                self.progress.update(said)
            case "transfer":
                self.progress["transfer"] = said
            case "finished" | "refused" | "failed":
                self.end = event
        self.is_news = True

    def require_product(self, code: int) -> Mapping[str, Any]:
        """Return the event of a process that ended with exit code ``code`` and left a bundle.

        Raises:
            TrainingRefused, ComputeFailed, Interrupted: it left none, and this is why.

        """
        end = self.end or {}
        kind = end.get("event")
        if code == 0 and kind == "finished":
            return end
        if kind == "refused":
            raise TrainingRefused(str(end["detail"]), Reason(end["reason"]))
        if kind == "failed":
            raise ComputeFailed(str(end["detail"]), Reason(end["reason"]))
        if code == PREEMPTED:
            raise Interrupted("the training process was asked to stop by somebody else")
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        sentence = f"the training process ended {how}; see errors.log in its folder of the store"
        raise ComputeFailed(sentence, Reason.RUN_ERROR)


def note(heard: Heard, flight: Flight, services: Services) -> None:
    """Keep the news in the row, not more often than anybody could read it.

    Raises:
        Fenced: the training is no longer ours.

    """
    at = time.monotonic()
    if not heard.is_news or (heard.end is None and at < heard.noted + SECONDS_BETWEEN_NOTES):
        return
    heard.noted, heard.is_news = at, False
    with unit_of_work(services.sessions) as session:
        trainings.note_progress(
            session, flight.lease, dict(heard.progress), snapshot_digest=heard.snapshot
        )
