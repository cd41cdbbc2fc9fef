"""The page: what stands on it, and that nothing on it runs or is fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from pipeline.evaluation import curves, page, plots, summary
from pipeline.evaluation.page import Cell, Heading
from pipeline.evaluation.scores import Boxes, Scores
from pipeline.evaluation.statistic import title_of
from tests.pipeline.evaluation import made_scores

HEADING = Heading(title="Lesions <b>", lines=["lesions@1.0"], warnings=["Not for clinical use."])


def classification(count: int = 40) -> Scores:
    truth, given = made_scores.random_binary(count, seed=2)
    groups = [{"sex": "female" if number % 4 else "male"} for number in range(count)]
    return made_scores.binary(truth, given, groups=groups)


def detection() -> Scores:
    case = Boxes(truths=1, scores=(0.9, 0.4), overlaps=((0.0,), (0.8,)))
    return made_scores.scores("detection", ["nodule"], [{"boxes": (case,)}])


def rendered(scores: Scores) -> str:
    return page.render(HEADING, scores, summary.summarise(scores))


class Tags(HTMLParser):
    """Counts tags and checks that each is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", [classification, detection])
def test_the_page_is_whole_and_asks_nothing_of_anybody(make: Callable[[], Scores]) -> None:
    text = rendered(make())
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert not {"script", "img", "link", "iframe", "a"} & set(tags.seen)
    assert not {"src", "href", "onload", "onclick"} & tags.attributes
    assert "http://" not in text
    assert "https://" not in text


def test_numbers_stand_with_their_intervals_and_their_patients() -> None:
    scores = classification()
    accuracy = summary.summarise(scores)["accuracy"]
    text = rendered(scores)
    shown = page.words(accuracy)
    assert f"<td>{shown.value}<small>{shown.detail}</small></td>" in text
    assert shown.detail.endswith("n 40")
    assert "40 held-out cases of 40 patients" in text


def test_titles_and_labels_are_text_not_markup() -> None:
    text = rendered(classification())
    assert "<h1>Lesions &lt;b&gt;</h1>" in text
    assert "Not for clinical use." in text


def test_subgroups_have_rows_and_too_few_is_said() -> None:
    text = rendered(classification(count=6))
    assert "<h2>By sex</h2>" in text
    assert "<th>female</th>" in text
    assert "<td>too few<small>n 2</small></td>" in text


def test_curves_are_drawn_within_their_frame() -> None:
    scores = classification()
    points = re.findall(r'<polyline class="curve" points="([^"]*)"', rendered(scores))
    assert len(points) == 3  # ROC of two labels, reliability
    drawn = [tuple(map(float, pair.split(","))) for pair in points[1].split()]
    assert len(drawn) == len(curves.roc(scores, 1)) > 5
    # (0, 0) is at the lower left, (1, 1) at the upper right
    left, top = plots.MARGIN, plots.MARGIN / 2
    assert drawn[0] == (left, top + plots.SIDE)
    assert drawn[-1] == (left + plots.SIDE, top)


def test_froc_is_drawn_as_far_as_its_scale() -> None:
    case = Boxes(truths=1, scores=(0.9,) * 12, overlaps=(*[(0.0,)] * 11, (0.8,)))
    scores = made_scores.scores("detection", ["nodule"], [{"boxes": (case,)}])
    (points,) = re.findall(r'<polyline class="curve" points="([^"]*)"', rendered(scores))
    assert (
        points.split()[-1] == f"{plots.MARGIN + plots.SIDE:.1f},{plots.MARGIN / 2 + plots.SIDE:.1f}"
    )


def test_points_on_a_straight_stretch_are_left_out() -> None:
    points = [(0.0, 0.0), (0.0, 0.2), (0.0, 0.4), (0.1, 0.4), (0.3, 0.4), (0.3, 1.0), (1.0, 1.0)]
    assert curves.corners(points) == [(0.0, 0.0), (0.0, 0.4), (0.3, 0.4), (0.3, 1.0), (1.0, 1.0)]


def test_what_has_no_value_is_said_to_have_none() -> None:
    assert page.words({"value": None, "low": None, "high": None, "patients": 0}) == Cell(
        "none", "n 0"
    )


def test_the_same_scores_give_the_same_page() -> None:
    assert rendered(detection()) == rendered(detection())


def test_statistics_are_titled_as_the_field_writes_them() -> None:
    assert title_of("auc") == "AUC"
    assert title_of("balanced_accuracy") == "balanced accuracy"
    text = rendered(detection())
    assert "<th>AP at IoU 0.5 to 0.95</th>" in text
    assert "an overlap (IoU) of at least 0.1" in text


def test_the_course_of_the_training_stands_beside_the_curves() -> None:
    scores = classification()
    course = {"loss": [(1.0, 0.9), (2.0, 0.4)], "score": [(2.0, 0.5)]}
    text = page.render(HEADING, scores, summary.summarise(scores), course)
    assert "<h2>Learning</h2>" in text
    assert text.count("<figcaption>Loss</figcaption>") == 1
    assert "Score" not in text  # one look is no curve
    assert "<h2>Learning</h2>" not in rendered(scores)
