from __future__ import annotations

from api.cli.progress import Pace, Snapshot, plain_line
from api.cli.watching import Lines, watch


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
