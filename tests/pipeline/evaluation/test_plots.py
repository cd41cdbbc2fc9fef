"""Where the points of a curve come to lie."""

from __future__ import annotations

from pipeline.evaluation import plots
from pipeline.evaluation.plots import MARGIN, SIDE

LEFT, RIGHT = MARGIN, MARGIN + SIDE
TOP, BOTTOM = MARGIN / 2, MARGIN / 2 + SIDE


def places(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]


def test_a_share_runs_from_the_lower_left_and_is_cut_at_the_right() -> None:
    (plot,) = plots.share("FROC", ("false positives", "sensitivity"), [(0, 0), (4, 0.5), (9, 1)], 8)
    assert places(plot.points) == [
        (LEFT, BOTTOM),
        (LEFT + SIDE / 2, TOP + SIDE / 2),
        (RIGHT, TOP + SIDE / 2),
    ]
    assert (plot.left, plot.right, plot.bottom, plot.top) == ("0", "8", "0", "1")


def test_without_points_there_is_no_curve() -> None:
    assert [*plots.share("ROC", ("x", "y"), [], 1)] == []
    assert [*plots.share("ROC", ("x", "y"), [(2, 1)], 1)] == []


def test_a_course_runs_from_its_least_to_its_most() -> None:
    (plot,) = plots.courses({"loss": [(1, 0.75), (2, 0.5), (5, 0.25)]})
    assert places(plot.points) == [(LEFT, TOP), (LEFT + SIDE / 4, TOP + SIDE / 2), (RIGHT, BOTTOM)]
    assert (plot.left, plot.right, plot.bottom, plot.top) == ("1", "5", "0.25", "0.75")


def test_the_name_of_a_loss_is_shown_as_words() -> None:
    (plot,) = plots.courses({"box_regression": [(1, 0.75), (2, 0.5)]})
    assert (plot.title, plot.up) == ("Box regression", "box regression")


def test_a_course_that_never_changes_is_a_level_line() -> None:
    (plot,) = plots.courses({"rate": [(1, 0.1), (2, 0.1)]})
    assert len({y for _, y in places(plot.points)}) == 1


def test_small_numbers_have_room_beside_the_frame() -> None:
    (plot,) = plots.courses({"rate": [(1, 0.0), (2, 0.000123456)]})
    assert (plot.bottom, plot.top) == ("0", "1.2e-04")


def test_one_epoch_is_no_course() -> None:
    assert [*plots.courses({"loss": [(1, 0.5)]})] == []
