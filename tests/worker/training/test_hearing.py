"""What is kept of the words of a training's process."""

from __future__ import annotations

import pytest

from pipeline.errors import ComputeFailed, Interrupted, TrainingRefused
from pipeline.reasons import Reason
from worker.training.hearing import Heard
from worker.training.process import PREEMPTED


def test_progress_is_what_was_last_said_of_each_thing() -> None:
    heard = Heard()
    heard.take({"event": "phase", "phase": "training"})
    heard.take({"event": "step", "epoch": 0, "epochs": 2, "batch": 3, "batches": 4, "loss": 0.5})
    assert heard.progress == {
        "phase": "training",
        "epoch": 0,
        "epochs": 2,
        "batch": 3,
        "batches": 4,
        "loss": 0.5,
    }
    heard.take({"event": "epoch", "epoch": 1, "batch": 0, "loss": 0.4, "curve": [{"epoch": 1}]})
    assert (heard.progress["epoch"], heard.progress["batch"]) == (1, 0)
    assert heard.progress["curve"] == [{"epoch": 1}]
    assert heard.is_news


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [
        (
            {"event": "refused", "reason": Reason.TRAINING_DIVERGED, "detail": "x"},
            3,
            TrainingRefused,
        ),
        # torchrun has an exit code of its own
        (
            {"event": "refused", "reason": Reason.TRAINING_DIVERGED, "detail": "x"},
            1,
            TrainingRefused,
        ),
        ({"event": "failed", "reason": Reason.RUN_OUT_OF_MEMORY, "detail": "x"}, 1, ComputeFailed),
        (None, -9, ComputeFailed),
        (None, PREEMPTED, Interrupted),
        ({"event": "finished"}, 1, ComputeFailed),
    ],
)
def test_an_end_without_a_product_says_why(
    end: dict[str, str] | None, code: int, error: type[Exception]
) -> None:
    heard = Heard()
    if end is not None:
        heard.take(end)
    with pytest.raises(error):
        heard.require_product(code)
