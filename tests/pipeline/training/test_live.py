"""What is told while a model learns, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c, u32

from pipeline.training.board import Board
from pipeline.training.checkpoint import Epoch
from pipeline.training.controls import EpochReport, StepReport
from pipeline.training.live import Live


@dataclass
class Watched:
    """A training of two epochs of eight batches of two cases, and what was said of it."""

    board: Board | None = None
    now: float = 100.0
    said: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live = Live(self.said.append, lambda: self.now, self.board, checkpoint_every=60.0)

    def step(self, epoch: int, step: int, *, after: float) -> None:
        self.now += after
        losses = {"loss": 1.0 / step, "dice": 0.5}
        self.live.on_step(
            StepReport(epoch=epoch, epochs=2, step=step, steps=8, losses=losses, cases=2)
        )

    def epoch(self, number: int, *, after: float) -> None:
        self.now += after
        history = [Epoch(losses={"loss": 0.5, "dice": 0.25}, score=0.75, learning_rate=0.125)]
        self.live.on_epoch(
            EpochReport(epoch=number, epochs=2, steps=8, best_score=0.75, history=history * number)
        )


def test_steps_are_told_once_in_a_second_with_rate_and_time_left() -> None:
    watched = Watched()
    for step in range(1, 9):
        watched.step(0, step, after=0.5)
    assert [event["batch"] for event in watched.said] == [2, 4, 6, 8]
    assert watched.said[0] == {
        "event": "step",
        "epoch": 0,
        "epochs": 2,
        "batch": 2,
        "batches": 8,
        "loss": 0.5,
        "cases_per_second": 4.0,
        "seconds_left": None,
    }
    # six eighths of an epoch took three seconds since; one epoch is left
    assert watched.said[-1]["seconds_left"] == 4.0


def test_an_epoch_is_told_with_its_speed_and_the_curve_so_far() -> None:
    watched = Watched()
    for step in range(1, 9):
        watched.step(0, step, after=0.25)
    watched.epoch(1, after=3.0)
    assert watched.said[-1] == {
        "event": "epoch",
        "epoch": 1,
        "epochs": 2,
        "batch": 0,
        "loss": 0.5,
        "losses": {"loss": 0.5, "dice": 0.25},
        "score": 0.75,
        "best_score": 0.75,
        "learning_rate": 0.125,
        "seconds": 5.0,
        "cases_per_second": 8.0,  # validation does not count
        "seconds_left": watched.said[-1]["seconds_left"],
        "curve": [{"epoch": 1, "loss": 0.5, "score": 0.75, "learning_rate": 0.125}],
    }
    watched.epoch(2, after=1.0)
    assert watched.said[-1]["seconds_left"] == 0.0


def test_a_checkpoint_is_due_after_so_many_seconds_and_after_none_that_was_just_written() -> None:
    watched = Watched()
    assert not watched.live.is_due()
    watched.now += 60.0
    assert watched.live.is_due()
    assert not watched.live.is_due()
    watched.now += 59.0
    watched.epoch(1, after=0.0)  # the loop writes one after each epoch
    watched.now += 59.0
    assert not watched.live.is_due()
    watched.now += 1.0
    assert watched.live.is_due()


def events(folder: Path) -> list[Event]:
    """Read the event files of a folder, oldest first, with both checksums of every record."""
    found = []
    for file in sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns):
        content = file.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            header, record = content[:8], content[12 : 12 + length]
            assert u32(masked_crc32c(header)) == int.from_bytes(content[8:12], "little")
            end = content[12 + length : 16 + length]
            assert u32(masked_crc32c(record)) == int.from_bytes(end, "little")
            found.append(Event.FromString(record))
            content = content[16 + length :]
    return found


def scalars(found: list[Event]) -> dict[tuple[str, int], float]:
    return {
        (value.tag, event.step): value.simple_value
        for event in found
        for value in event.summary.value
    }


def test_tensorboard_finds_the_curves_by_batches_learnt_from(tmp_path: Path) -> None:
    board = Board(tmp_path)
    watched = Watched(board)
    for step in range(1, 9):
        watched.step(0, step, after=0.25)
    watched.epoch(1, after=1.0)
    board.close()
    assert scalars(events(tmp_path)) == pytest.approx(
        {
            ("batch/loss", 4): 0.25,
            ("batch/dice", 4): 0.5,
            ("batch/loss", 8): 0.125,
            ("batch/dice", 8): 0.5,
            ("epoch/loss", 8): 0.5,
            ("epoch/dice", 8): 0.25,
            ("epoch/score", 8): 0.75,
            ("epoch/learning_rate", 8): 0.125,
            ("epoch/cases_per_second", 8): 8.0,
        }
    )


def test_who_goes_on_takes_back_what_was_written_beyond_the_checkpoint(tmp_path: Path) -> None:
    for first in (1, 5):
        board = Board(tmp_path)
        board.add({"batch/loss": 1.0}, first)
        board.close()
    starts = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert starts == [1, 5]


def test_a_training_that_never_began_leaves_no_file(tmp_path: Path) -> None:
    Board(tmp_path / "none").close()
    assert not (tmp_path / "none").exists()
