from __future__ import annotations

import csv
import io

import pytest

from records import batches, database
from tests.api.cli.conftest import Home, Shell


def test_status_lists_the_batches(shell: Shell, home: Home) -> None:
    said = shell("status")
    assert said.code == 0
    assert str(home.batch)[:8] in said.out
    assert "1 succeeded, 1 rejected, 1 queued" in said.out


def test_status_of_one_batch_tells_its_counts(shell: Shell, home: Home) -> None:
    said = shell("status", str(home.batch)[:8])
    assert "jobs       3 (1 succeeded, 1 rejected, 1 queued)" in said.out
    assert "files      4 (1 file.not_dicom, 3 ok)" in said.out


def test_a_batch_is_found_by_latest_by_its_id_and_by_its_first_characters(
    shell: Shell, home: Home
) -> None:
    for name in ("latest", str(home.batch), str(home.batch)[:6], home.batch.hex):
        assert shell("status", name, "--json").json["id"] == str(home.batch)


def test_a_name_of_no_batch_is_wrong_usage(shell: Shell, home: Home) -> None:
    assert shell("status", "ffffffffffff").code == 2
    assert shell("status", "not-hexadecimal").code == 2


def test_jobs_lists_the_newest_batch_and_says_why_there_is_no_result(
    shell: Shell, home: Home
) -> None:
    said = shell("jobs")
    assert said.code == 0
    assert "series.missing_slice: A slice is missing." in said.out


def test_jobs_may_be_asked_for_by_status(shell: Shell, home: Home) -> None:
    rows = shell("jobs", "--status", "rejected", "--json").json
    assert [row["id"] for row in rows] == [str(home.rejected)]
    assert shell("jobs", "--status", "finished").code == 2


def test_a_job_shows_its_models(shell: Shell, home: Home) -> None:
    said = shell("job", str(home.succeeded))
    assert "step lungs: threshold-lung 1 (bbbbbbbbbbbb)" in said.out
    assert shell("job", str(home.succeeded), "--json").json["models"][0]["digest"] == "b" * 64


def test_explain_tells_clause_by_clause_and_then_what_happened(shell: Shell, home: Home) -> None:
    said = shell("explain", str(home.rejected))
    lines = said.out.splitlines()
    assert "    + series 1.2.1.1: chosen: it has the most slices" in lines
    assert "        holds  modality: asked CT, is CT" in lines
    assert "    - series 1.2.1.2: not chosen: minimum_slices does not hold" in lines
    assert "        FAILS  minimum_slices: asked 16, is 3" in lines
    assert any("queued -> running" in line for line in lines)
    assert any(line.startswith("  1. rejected (series.missing_slice") for line in lines)


def test_explain_tells_the_steps_as_planned_where_none_ran(shell: Shell, home: Home) -> None:
    lines = shell("explain", str(home.rejected)).out.splitlines()
    assert "  input smooth: made of ct by median (radius_mm 1), then otsu (bins 256)" in lines
    assert "  step nodules: finder on ct, after lungs" in lines
    assert "        cropped to the mask of step lungs" in lines
    assert "        when volume in mL of lung in step lungs is above 5" in lines
    assert "Step by step" not in lines


def test_explain_tells_step_by_step_what_ran_on_what_and_why_not(shell: Shell, home: Home) -> None:
    said = shell("explain", str(home.succeeded)).out
    assert said.split("Step by step\n")[1].split("\n\n")[0].splitlines() == [
        "  step nodules: finder 1: ran, 0.5 s",
        "    + series 1.2.1.1",
        "        prepared as smooth, 12 x 20 x 18 voxels, 0.3 s:",
        "          otsu: bins 256, value 41.5",
        "          fill_holes",
        "        holds  any: asked one of these, is volume",
        "            yes    volume: asked above 5, is 9.5",
        "            no     score: asked at least 1, is 0.5",
        "        cropped to the mask of step lungs and 10 mm around it:",
        "          slices 0 to 11, rows 4 to 19, columns 8 to 29",
        "          24 x 8 x 11 mm from (-10.5, 2, 3) mm",
        "  step boxes: boxer 1: skipped",
        "    - series 1.2.1.1: skipped, step other was skipped",
    ]
    assert shell("explain", str(home.succeeded), "--json").json["steps"][1]["ran"] is False


def test_results_are_the_columns_of_the_contract(shell: Shell, home: Home) -> None:
    printed = shell("results", "latest").out
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert printed.splitlines()[0] == (
        "batch,job,study,series,analysis,model,version,digest,kind,label,code,value,unit,score,"
        "standing"
    )
    assert rows[0]["value"] == "4321.5"
    assert shell("results", "latest", "--format", "json").json[0]["label"] == "lung"


def test_models_shows_what_is_active(shell: Shell, home: Home) -> None:
    assert shell("models", "list", "--json").json[0]["stage"] == "active"
    assert "threshold-lung" in shell("models", "show", "threshold-lung").out
    assert shell("models", "show", "nothing").code == 1


def test_a_stage_changes_with_a_reason_and_the_audit_says_who(shell: Shell, home: Home) -> None:
    assert shell("models", "retire", "threshold-lung", "1").code == 2  # without --why
    assert shell("models", "retire", "threshold-lung", "1", "--why", "it is old").code == 0
    rows = shell("audit", "list", "--json", "--limit", "1").json
    assert rows[0]["event_id"] == "model.retired"
    assert rows[0]["detail"]["why"] == "it is old"


def test_the_trail_is_whole_until_somebody_changes_it(shell: Shell, home: Home) -> None:
    from sqlalchemy import text

    assert shell("audit", "verify").code == 0
    with home.sessions.begin() as session:
        triggers = text(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_records'"
        )
        for name in session.scalars(triggers).all():
            session.execute(text(f'DROP TRIGGER "{name}"'))
        session.execute(
            text("UPDATE audit_records SET active_participant = 'me' WHERE sequence = 2")
        )
    said = shell("audit", "verify")
    assert said.code == 1
    assert "Audit record 2 is not as it was written." in said.err


def test_the_trail_is_exported_whole_and_never_over_a_file(shell: Shell, home: Home) -> None:
    out = home.path / "audit.jsonl"
    assert shell("audit", "export", "--out", str(out)).code == 0
    lines = out.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(shell("audit", "list", "--json").json)
    assert shell("audit", "export", "--out", str(out)).code == 1


def test_a_key_is_shown_once_and_can_be_ended(shell: Shell) -> None:
    made = shell("keys", "create", "scanner", "--role", "submitter")
    assert made.code == 0
    secret = made.out.strip()
    assert secret not in shell("keys", "list").out
    assert shell("keys", "list", "--json").json[0]["revoked_at"] is None
    assert shell("keys", "revoke", "scanner").code == 0
    assert shell("keys", "list", "--json").json[0]["revoked_at"] is not None


@pytest.mark.parametrize("roles", [["owner"], ["trainer", "approver"]])
def test_roles_that_do_not_exist_or_do_not_go_together_are_wrong_usage(
    shell: Shell, roles: list[str]
) -> None:
    words = [word for role in roles for word in ("--role", role)]
    assert shell("keys", "create", "k", *words).code == 2


def test_a_canceled_batch_can_be_tried_again(shell: Shell, home: Home) -> None:
    assert shell("cancel", "latest").code == 0
    assert shell("jobs", "--status", "canceled", "--json").json[0]["id"] == str(home.queued)
    assert "1 job queued again." in shell("retry", "latest").out
    assert shell("retry", "latest", "--cause", "no.such_reason").code == 3


def test_a_batch_canceled_before_it_was_planned_is_scanned_again(shell: Shell, home: Home) -> None:
    with database.unit_of_work(home.sessions) as session:
        new = batches.NewBatch(source="/exports/day", analyses=["ct-chest"], lane="run-gone")
        batch = batches.create(session, new, by="tester").id
        batches.cancel(session, batch, by="tester")
    said = shell("retry", str(batch))
    assert (said.code, said.out) == (0, "The scan is queued again.\n")
    assert "Give the `nightshift run` command of that batch again" in said.err


def test_a_fresh_home_has_empty_listings(shell: Shell) -> None:
    assert shell("status", "--json").json == []
    assert shell("trainings", "--json").json == []
    assert shell("schedules", "list", "--json").json == []
    assert shell("keys", "list").code == 0
    assert shell("status", "latest").code == 2
