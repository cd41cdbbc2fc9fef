from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli import watching
from api.cli.progress import Pace, Snapshot, plain_line
from api.cli.watching import Lines, Room, watch
from records.database import DatabaseUnavailable, Trouble
from worker.queue.settings import Settings


def at(seconds: float, done: int = 0, total: int = 10, **more: object) -> Snapshot:
    jobs = {"succeeded": done, "queued": total - done}
    columns: dict[str, object] = {"status": "running", "planned": True, "jobs": jobs}
    columns |= {"tried": done, **more}
    return Snapshot(at=seconds, **columns)  # type: ignore[arg-type]


def test_a_pace_is_measured_from_the_first_job_that_ended_not_from_the_start() -> None:
    pace = Pace()
    for moment in (at(0, 0), at(90, 0), at(100, 1), at(110, 2), at(120, 3)):
        pace.observe(moment)
    assert pace.rate(120) == 3 / 30


def test_a_pace_forgets_what_is_long_ago() -> None:
    pace = Pace(window=60)
    pace.observe(at(0, 0, 1000))
    for n in range(1, 31):
        pace.observe(at(1000 + 10 * n, n, 1000))
    rate = pace.rate(1300)
    assert rate is not None
    assert abs(rate - 0.1) < 0.01


def test_nobody_knows_the_time_left_while_jobs_are_still_planned() -> None:
    pace = Pace()
    for moment in (at(0, 0), at(10, 5)):
        pace.observe(moment)
    assert pace.seconds_left(at(10, 5, planned=False)) is None
    assert pace.seconds_left(at(10, 5)) == 10


def test_a_plain_line_tells_files_studies_jobs_and_pace() -> None:
    moment = at(70, 3, 10, files_seen=1204, studies=10)
    line = plain_line(moment, Pace(), since=0)
    assert line == (
        "[01:10] 1,204 files scanned, 10 studies; 3 of 10 jobs done (3 succeeded, 7 queued)"
    )


def test_lines_come_at_the_start_at_every_phase_and_every_few_seconds_of_change() -> None:
    told: list[str] = []
    lines = Lines(told.append, started=0)
    for moment in (
        at(0, 0, planned=False),
        at(1, 0, planned=False),
        at(2, 0),
        at(3, 1),
        at(4, 2),
        at(8, 3),
        at(9, 4),
        at(9.5, 10, status="finished"),
    ):
        lines.show(moment)
    assert [line[:7] for line in told] == ["[00:00]", "[00:02]", "[00:08]", "[00:09]"]


def test_watching_ends_with_the_batch_and_tends_the_processes_before_each_look() -> None:
    moments = iter([at(0, 0), at(1, 10, status="finished")])
    tended: list[int] = []
    told: list[str] = []
    last = watch(
        lambda: next(moments),
        Lines(told.append, started=0),
        tend=lambda: tended.append(1),
        every=0,
    )
    assert last.done == 10
    assert len(tended) == 2


def answering(*moments: Snapshot | None) -> Callable[[], Snapshot]:
    """Read these moments one by one; None stands for a database that does not answer."""
    left = iter(moments)

    def read() -> Snapshot:
        moment = next(left)
        if moment is None:
            raise DatabaseUnavailable(Trouble.REFUSED)
        return moment

    return read


def test_watching_outlasts_a_database_that_is_away_and_says_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[str] = []
    tended: list[int] = []
    last = watch(
        answering(at(0, 0), None, None, at(3, 10, status="finished")),
        Lines(told.append, started=0),
        tend=lambda: tended.append(1),
        every=0,
    )
    assert last.done == 10
    assert len(told) == 2
    assert len(tended) == 4
    assert capsys.readouterr().err.count("The database cannot be reached") == 1


def test_watching_gives_up_when_the_database_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "OUTAGE_SECONDS", 0.0)
    with pytest.raises(DatabaseUnavailable):
        watch(answering(at(0, 0), None, None), Lines(lambda _: None, started=0), every=0.01)


def test_a_disk_that_becomes_short_of_room_is_told_and_not_at_every_look(tmp_path: Path) -> None:
    told: list[str] = []
    room = Room(Settings(home=tmp_path, disk_reserve_bytes=2**62), told.append)
    for _ in range(3):
        room.look()
    assert len(told) == 1
    assert "no job is started" in told[0]
    Room(Settings(home=tmp_path, disk_reserve_bytes=0), told.append).look()
    assert len(told) == 1
