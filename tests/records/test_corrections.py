"""What readers say is kept, held to the answer, and becomes labelled cases."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session, sessionmaker

from records import corrected, corrections
from records.base import JobStatus
from records.corrections import CorrectionRefused, MaskForm, NewCorrection, Verdict
from records.database import reading, unit_of_work
from records.tables import AuditRecord
from records.transitions import NoSuchRecord
from records.uncertain import UncertainCase, uncertain
from tests.records.answered import Answered, scores

Sessions = sessionmaker[Session]
BOX = {"label": "bright", "centre": [1.0, 2.0, 3.0], "size": [4.0, 5.0, 6.0]}
SEG = b"\0" * 128 + b"DICM" + b"and so on"


def say(sessions: Sessions, job: uuid.UUID, verdict: str, **more: Any) -> int:
    new = NewCorrection(**{"job_id": job, "step": "look", "verdict": Verdict(verdict), **more})
    with unit_of_work(sessions) as session:
        return corrections.add(session, new, by="grace").id


def cases(sessions: Sessions, **more: Any) -> list[corrected.CorrectedCase]:
    with reading(sessions) as session:
        return list(corrected.cases(session, "light", model="quick", **more))


def test_who_said_what_of_which_job_is_audited(sessions: Sessions) -> None:
    job = Answered(sessions).job(1, scores(0.9))
    number = say(sessions, job, "accept")
    with reading(sessions) as session:
        (said,) = corrections.of_job(session, job)
        event = session.scalars(
            select(AuditRecord).where(AuditRecord.event_id == "correction.added")
        ).one()
    assert (said.created_by, said.series_instance_uid) == ("grace", "2.25.1")
    assert (event.active_participant, event.detail["correction"]) == ("grace", number)


def test_the_latest_word_on_a_series_is_its_label_and_rejected_answers_label_nothing(
    sessions: Sessions,
) -> None:
    world = Answered(sessions)
    first, second, third = (world.job(number, scores(0.9)) for number in (1, 2, 3))
    say(sessions, first, "accept")
    say(sessions, second, "accept")
    say(sessions, second, "replace", label="bright")
    say(sessions, third, "reject")
    found = cases(sessions)
    assert [(case.series_instance_uid, case.label) for case in found] == [
        ("2.25.1", "dark"),
        ("2.25.2", "bright"),
    ]
    assert (found[0].source, found[0].paths) == ("in", ("1.dcm",))


def test_what_was_said_after_a_number_does_not_change_what_was_frozen_up_to_it(
    sessions: Sessions,
) -> None:
    job = Answered(sessions).job(1, scores(0.9))
    number = say(sessions, job, "accept")
    say(sessions, job, "replace", label="bright")
    assert [case.label for case in cases(sessions, up_to=number)] == ["dark"]
    assert [case.label for case in cases(sessions)] == ["bright"]
    assert cases(sessions, up_to=number - 1) == []


def test_accepted_boxes_are_those_that_were_found(sessions: Sessions) -> None:
    found = {"centre_mm": [1.0, 2.0, 3.0], "size_mm": [4.0, 5.0, 6.0]}
    world = Answered(sessions, "detection")
    say(sessions, world.job(1, [{"label": "bright", "payload": found}]), "accept")
    say(sessions, world.job(2, []), "accept")
    say(sessions, world.job(3, []), "replace", boxes=[])
    assert [case.boxes for case in cases(sessions)] == [[BOX], [], []]


def test_an_accepted_mask_is_the_one_that_was_written(sessions: Sessions) -> None:
    world = Answered(sessions, "segmentation")
    written, unwritten, replaced = (world.job(number, []) for number in (1, 2, 3))
    for name in ("look.dcm", "lookout.dcm", "look-labelmap.dcm"):
        world.artifact(written, name)
    say(sessions, written, "accept")
    say(sessions, unwritten, "accept")
    say(sessions, replaced, "replace", mask=SEG)
    first, second = cases(sessions)
    assert (first.mask, first.mask_form) == ("a" * 64, MaskForm.DICOM_SEG)
    assert (second.mask, second.mask_form) == (SEG, MaskForm.DICOM_SEG)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("classification", {"verdict": "accept", "label": "dark"}),
        ("classification", {"verdict": "replace"}),
        ("classification", {"verdict": "replace", "label": "green"}),
        ("classification", {"verdict": "replace", "label": ""}),
        ("classification", {"verdict": "replace", "label": "dark|bright"}),
        ("classification", {"verdict": "replace", "label": "d" * 121}),
        ("classification", {"verdict": "replace", "boxes": [BOX]}),
        ("classification", {"verdict": "replace", "label": "dark", "mask": SEG}),
        ("classification", {"verdict": "accept", "step": "listen"}),
        ("classification", {"verdict": "accept", "series_instance_uid": "2.25.9"}),
        ("detection", {"verdict": "replace", "boxes": [BOX | {"label": "green"}]}),
        ("detection", {"verdict": "replace", "boxes": [BOX | {"size": [1.0, 0.0, 1.0]}]}),
        ("detection", {"verdict": "replace", "boxes": [BOX | {"centre": [1.0, math.nan, 1.0]}]}),
        ("detection", {"verdict": "replace", "boxes": [BOX | {"more": 1}]}),
        ("detection", {"verdict": "replace", "boxes": [BOX | {"label": ["bright"]}]}),
        ("detection", {"verdict": "replace", "boxes": [BOX | {"centre": 1.0}]}),
        ("detection", {"verdict": "replace", "boxes": [BOX | {"size": "123"}]}),
        ("segmentation", {"verdict": "replace", "mask": b"a picture"}),
    ],
)
def test_what_does_not_fit_the_answer_is_refused_and_kept_nowhere(
    sessions: Sessions, kind: str, said: dict[str, Any]
) -> None:
    job = Answered(sessions, kind).job(1, [])
    with pytest.raises(CorrectionRefused):
        say(sessions, job, **said)
    with reading(sessions) as session:
        assert corrections.of_job(session, job) == []


def test_a_job_without_an_answer_has_nothing_to_correct(sessions: Sessions) -> None:
    job = Answered(sessions).job(1, [], status=JobStatus.FAILED)
    with pytest.raises(CorrectionRefused, match="failed"):
        say(sessions, job, "accept")
    with pytest.raises(NoSuchRecord):
        say(sessions, uuid.uuid4(), "accept")


def test_corrections_are_counted_from_where_one_stood(sessions: Sessions) -> None:
    world = Answered(sessions)
    numbers = [say(sessions, world.job(each, scores(0.9)), "accept") for each in (1, 2)]
    numbers.append(say(sessions, world.job(3, scores(0.9)), "reject"))
    with reading(sessions) as session:
        count = corrections.count
        assert count(session, "light", model="quick") == (2, numbers[2])
        assert count(session, "light", model="quick", after=numbers[0]) == (1, numbers[2])
        assert count(session, "light", model="quick", after=numbers[2]) == (0, numbers[2])
        assert count(session, "light", model="other") == (0, 0)


def test_a_series_that_was_looked_at_twice_is_one_case(sessions: Sessions) -> None:
    world = Answered(sessions)
    twice, withdrawn = (world.job(number, scores(0.9)) for number in (1, 2))
    for job, verdict in ((twice, "reject"), (withdrawn, "accept"), (twice, "accept")):
        say(sessions, job, verdict)
    last = say(sessions, withdrawn, "reject")
    with reading(sessions) as session:
        assert corrections.count(session, "light", model="quick") == (1, last)
    assert len(cases(sessions)) == 1


def test_where_several_labels_may_hold_only_what_a_reader_states_is_known(
    sessions: Sessions,
) -> None:
    world = Answered(sessions, options={"activation": "sigmoid"})
    accepted, both, none = (world.job(number, scores(0.9)) for number in (1, 2, 3))
    say(sessions, accepted, "accept")
    say(sessions, both, "replace", label="dark|bright")
    say(sessions, none, "replace", label="-")
    assert [case.label for case in cases(sessions)] == ["dark|bright", "-"]
    with pytest.raises(CorrectionRefused, match="knows the labels bright, dark"):
        say(sessions, both, "replace", label="dark|green")


def test_a_case_has_the_files_of_the_part_that_was_looked_at(sessions: Sessions) -> None:
    world = Answered(sessions)
    job = world.job(1, scores(0.9))
    world.part(job, 1, "localizer.dcm")
    say(sessions, job, "accept")
    (case,) = cases(sessions)
    assert case.paths == ("1.dcm",)


def least_sure(sessions: Sessions, most: int = 10) -> list[UncertainCase]:
    with reading(sessions) as session:
        return uncertain(session, "light", most=most)


def test_the_least_sure_come_first_and_what_was_looked_at_no_more(sessions: Sessions) -> None:
    world = Answered(sessions)
    sure, unsure, seen = (
        world.job(number, scores(dark)) for number, dark in ((1, 0.99), (2, 0.5), (3, 0.5))
    )
    say(sessions, seen, "reject")
    found = least_sure(sessions)
    assert [case.job for case in found] == [unsure, sure]
    assert (found[0].entropy, found[0].source) == (1.0, "scores")
    assert [case.job for case in least_sure(sessions, 1)] == [unsure]


def test_to_find_the_least_sure_nothing_is_read_but_what_tells(sessions: Sessions) -> None:
    world = Answered(sessions)
    world.job(1, [*scores(0.5), {"kind": "segment", "label": "Lung", "value": 1.0}])
    asked: list[str] = []
    with reading(sessions) as session:

        def hear(_: object, __: object, statement: str, *___: object) -> None:
            asked.append(statement)

        event.listen(session.connection(), "before_cursor_execute", hear)
        assert [case.entropy for case in uncertain(session, "light", most=10)] == [1.0]
    (statement,) = asked
    assert "payload" not in statement
    assert "results.kind IN" in statement


def test_what_a_model_states_of_itself_goes_before_its_scores(sessions: Sessions) -> None:
    stated = {"kind": "measurement", "label": "predictive entropy", "value": 0.25, "unit": "bit"}
    Answered(sessions).job(1, [*scores(0.5), stated])
    (case,) = least_sure(sessions)
    assert (case.entropy, case.source) == (0.25, "stated")


def test_a_box_at_one_half_is_a_coin_and_no_box_says_nothing(sessions: Sessions) -> None:
    world = Answered(sessions, "detection")
    coin = world.job(1, [{"label": "bright", "score": score} for score in (0.99, 0.5)])
    world.job(2, [])
    assert [(case.job, case.entropy) for case in least_sure(sessions)] == [(coin, 1.0)]
