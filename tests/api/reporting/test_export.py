from __future__ import annotations

import csv
import json
import re
import tracemalloc
import uuid
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import insert

from api.reporting import export
from records.base import JobStatus
from records.database import unit_of_work
from records.listing import COLUMNS
from records.tables import Job, Result, Study
from tests.api.reporting.conftest import AT, Night, plan

HOSTILE = '=cmd|"/c calc"!A1<script>alert(1)</script>\u202egpj.exe'
INDEX = {
    "sprite": "overlay-lungs.webp",
    "tile": [200, 100],
    "columns": 2,
    "slice_count": 9,
    "plane": "axial",
    "edges": ["R", "L", "A", "P"],
    "window": "lung",
    "legend": [{"label": "Lung<b>", "color": [86, 180, 233], "kind": "segment"}],
    "tiles": [
        {"slice": 9, "segments": [], "boxes": 0},
        {"slice": 5, "segments": ["Lung"], "boxes": 0},
        {"slice": 1, "segments": [], "boxes": 0},
    ],
}


def fill(night: Night) -> uuid.UUID:
    """Add one study that succeeded, one that was rejected, and files that were not used."""
    good, bad = night.study("1.2.10"), night.study("1.2.9")
    first = night.series(good, "1.2.10.1")
    night.series(good, "1.2.10.2", "series.localizer", detail="a localizer")
    third = night.series(good, "1.2.10.3")
    night.file("p/s/1/a.dcm", series_id=first)
    night.file("p/s/3/a.dcm", series_id=third)
    night.file("p/s/3/b/c.dcm", series_id=third)
    night.file(HOSTILE, "file.not_dicom", detail="no DICOM")
    chosen = plan("1.2.10.1", others=[("1.2.10.3", "not chosen: too thick")])
    skipped = {"step": "boxes", "skipped": [{"because": "the mask of step lungs is empty"}] * 2}
    report = {
        "device": "cpu",
        "seconds": {"read": 0.5, "predict": 2.0},
        "warnings": ["careful"],
        "steps": [skipped],
    }
    job = night.job(good, plan=chosen, report=report)
    night.bind(job, "lungs", "threshold-lung", is_demonstration=True)
    night.result(job, 1, label="-Left", value=-12.3456789, unit="mL", score=0.51)
    night.result(job, 0, code="SCT:39607008", value=1448.64, unit="mL")
    night.artifact(job, "overlay-lungs.webp", b"webp")
    night.artifact(job, "overlay-lungs.json", json.dumps(INDEX).encode())
    night.artifact(job, "lungs.dcm", b"seg", kind="dicom-seg", media_type="application/dicom")
    night.job(
        bad, status=JobStatus.REJECTED, reason="series.missing_slice", detail="a slice is missing"
    )
    return job


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_export_leaves_every_promised_file(night: Night, tmp_path: Path) -> None:
    job = fill(night)
    out = tmp_path / "out"
    export(night.sessions, night.store, night.batch_id, out)
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    folder = f"studies/1.2.10/{job}"
    assert found >= {
        "summary.json",
        "results.csv",
        "results.json",
        "skipped.csv",
        "report.html",
        f"{folder}/job.json",
        f"{folder}/overlay-lungs.webp",
        f"{folder}/lungs.dcm",
    }
    assert len([name for name in found if name.endswith("job.json")]) == 2
    assert not [name for name in found if "/." in name or name.startswith(".")]


def test_results_are_rows_with_stable_numbers(night: Night, tmp_path: Path) -> None:
    job = fill(night)
    export(night.sessions, night.store, night.batch_id, tmp_path)
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == ",".join(COLUMNS)
    assert header == (
        "batch,job,study,series,analysis,model,version,digest,kind,label,code,value,unit,score,"
        "standing"
    )
    first, second = rows_of(tmp_path / "results.csv")
    assert (first["job"], first["label"], first["value"]) == (str(job), "Lung", "1448.64")
    assert (second["label"], second["value"], second["score"]) == ("'-Left", "-12.3457", "0.5100")
    as_json = json.loads((tmp_path / "results.json").read_text())
    assert [row["label"] for row in as_json] == ["Lung", "-Left"]
    assert as_json[1]["value"] == -12.3456789
    assert as_json[0]["score"] is None


def test_everything_that_was_not_analysed_is_named_with_its_reason(
    night: Night, tmp_path: Path
) -> None:
    fill(night)
    export(night.sessions, night.store, night.batch_id, tmp_path)
    rows = rows_of(tmp_path / "skipped.csv")
    found = [(r["path"], r["reason"], r["sentence"], r["what"], r["series"]) for r in rows]
    assert found == [
        (f"'{HOSTILE}", "file.not_dicom", "no DICOM", "file", ""),
        ("", "series.localizer", "a localizer", "series", "1.2.10.2"),
        ("p/s/3", "selection.not_chosen", "not chosen: too thick", "series", "1.2.10.3"),
        ("", "series.missing_slice", "a slice is missing", "study", ""),
    ]
    assert rows[3]["study"] == "1.2.9"


def test_the_summary_counts(night: Night, tmp_path: Path) -> None:
    fill(night)
    export(night.sessions, night.store, night.batch_id, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["batch"] == str(night.batch_id)
    assert summary["status"] == "finished"
    assert summary["source"] == "/exports/night-12"
    assert summary["files"] == {"ok": 3, "file.not_dicom": 1}
    assert (summary["studies"], summary["series"], summary["results"]) == (2, 3, 2)
    assert summary["jobs"] == {"succeeded": 1, "rejected": 1, "failed": 0, "canceled": 0}
    assert summary["seconds"] == 90
    assert summary["started"] < summary["finished"]
    assert summary["version"]


def test_job_json_tells_the_whole_story(lite_night: Night, tmp_path: Path) -> None:
    job = fill(lite_night)
    export(lite_night.sessions, lite_night.store, lite_night.batch_id, tmp_path)
    text = (tmp_path / "studies" / "1.2.10" / str(job) / "job.json").read_text()
    document = json.loads(text)
    assert document["status"] == "succeeded"
    assert document["models"][0]["name"] == "threshold-lung"
    assert document["models"][0]["demonstration"] is True
    assert document["report"]["device"] == "cpu"
    assert [row["label"] for row in document["results"]] == ["Lung", "-Left"]
    assert document["plan"]["inputs"]["ct"]["chosen"][0]["series_instance_uid"] == "1.2.10.1"


def test_a_second_export_changes_no_byte(lite_night: Night, tmp_path: Path) -> None:
    fill(lite_night)
    first, second = tmp_path / "first", tmp_path / "second"
    export(lite_night.sessions, lite_night.store, lite_night.batch_id, first)
    for _ in range(2):
        export(lite_night.sessions, lite_night.store, lite_night.batch_id, second)
    for path in first.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


class Page(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.scripts = 0
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.scripts += tag == "script"
        self.sources += [v or "" for k, v in attrs if k in {"src", "srcset", "href", "action"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(night: Night, out: Path) -> Page:
    export(night.sessions, night.store, night.batch_id, out)
    return Page((out / "report.html").read_text(encoding="utf-8"))


def test_folders_of_an_earlier_batch_go_and_those_of_others_stay(
    lite_night: Night, tmp_path: Path
) -> None:
    fill(lite_night)
    earlier, other = (tmp_path / "out" / "studies" / name / "job" for name in ("1.9", "1.8"))
    for folder in (earlier, other):
        folder.mkdir(parents=True)
    (earlier / "job.json").write_text("{}")
    (other / "notes.txt").write_text("mine")
    export(lite_night.sessions, lite_night.store, lite_night.batch_id, tmp_path / "out")
    assert not earlier.parent.exists()
    assert (other / "notes.txt").read_text() == "mine"


def test_the_page_asks_nothing_of_a_network_and_runs_only_its_own_script(
    lite_night: Night, tmp_path: Path
) -> None:
    fill(lite_night)
    page = page_of(lite_night, tmp_path)
    assert page.scripts == 1
    assert "b" in page.tags  # the page's own, and the one of the legend is escaped:
    assert "Lung<b>" in page.text
    for source in page.sources:
        assert source.startswith(("data:image/webp;base64,", "studies/")) or re.fullmatch(
            r"\w+\.(csv|json)", source
        )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?://", text)


def test_hostile_names_are_shown_and_do_nothing(lite_night: Night, tmp_path: Path) -> None:
    fill(lite_night)
    text = (page_of(lite_night, tmp_path)).text
    assert "<script>alert(1)</script>" in text
    assert r"\u202egpj.exe" in text
    assert "\u202e" not in text


def test_the_page_says_what_people_must_know(lite_night: Night, tmp_path: Path) -> None:
    fill(lite_night)
    text = page_of(lite_night, tmp_path).text
    for words in (
        "Not for clinical use",
        "demonstration",
        "threshold-lung",
        "Lung 1,449 mL",
        "a slice is missing",
        "series.missing_slice",
        "careful",
        "not chosen: too thick",
        "2.00 s",
    ):
        assert words in text


def test_pictures_beyond_the_budget_are_read_from_beside_the_page(
    lite_night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fill(lite_night)
    monkeypatch.setattr("api.reporting.report.PICTURE_BUDGET", 3)
    page = page_of(lite_night, tmp_path)
    href = f"studies/1.2.10/{job}/overlay-lungs.webp"
    assert href in page.sources
    assert (tmp_path / href).is_file()
    assert "read from studies/" in page.text


@pytest.mark.parametrize(
    "index",
    [
        b"not json",
        b"[]",
        b"{}",
        json.dumps({**INDEX, "tile": [0, 0]}).encode(),
        json.dumps({**INDEX, "tiles": []}).encode(),
        json.dumps({**INDEX, "sprite": "../../etc/passwd"}).encode(),
        json.dumps({**INDEX, "legend": [{"label": "x", "color": [999], "kind": "box"}]}).encode(),
    ],
)
def test_an_index_that_makes_no_sense_is_left_out(
    lite_night: Night, tmp_path: Path, index: bytes
) -> None:
    job = lite_night.job(lite_night.study("1.2.3"))
    lite_night.artifact(job, "overlay-lungs.webp", b"webp")
    lite_night.artifact(job, "overlay-lungs.json", index)
    assert "figure" not in page_of(lite_night, tmp_path).tags


def test_a_file_the_store_has_lost_is_counted(lite_night: Night, tmp_path: Path) -> None:
    fill(lite_night)
    job = lite_night.job(lite_night.study("1.2.11"))
    lite_night.artifact(job, "gone.dcm", b"gone", media_type="application/dicom").unlink()
    page = page_of(lite_night, tmp_path)
    assert "1 files are missing from the store" in page.text
    assert json.loads((tmp_path / "summary.json").read_text())["artifacts_missing"] == 1


def test_a_night_without_anything_says_so(lite_night: Night, tmp_path: Path) -> None:
    page = page_of(lite_night, tmp_path)
    assert "nothing to analyse" in page.text
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert rows_of(tmp_path / "results.csv") == []


def test_an_unknown_batch_is_refused_and_leaves_nothing(lite_night: Night, tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        export(lite_night.sessions, lite_night.store, uuid.UUID(int=9), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_results(
    lite_night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.reporting.rows.CHUNK", 20)
    monkeypatch.setattr("api.reporting.tables._CHUNK", 20)

    def peak(count: int) -> int:
        add_jobs(lite_night, count)
        tracemalloc.start()
        export(lite_night.sessions, lite_night.store, lite_night.batch_id, tmp_path)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(40), peak(160)
    assert many < 1.6 * few


def add_jobs(night: Night, count: int) -> None:
    """Add studies with a job of ten results each, in one transaction."""
    model, analysis = night.model("threshold-lung"), night.analysis("ct-chest")
    studies = [
        Study(id=uuid.uuid4(), batch_id=night.batch_id, study_instance_uid=f"2.25.{number}")
        for number in (uuid.uuid4().int for _ in range(count))
    ]
    jobs = [
        Job(
            id=uuid.uuid4(),
            batch_id=night.batch_id,
            study_id=study.id,
            analysis_id=analysis,
            status=JobStatus.SUCCEEDED,
            plan={},
            created_at=AT,
        )
        for study in studies
    ]
    results = [
        {
            "job_id": job.id,
            "step": "lungs",
            "ordinal": ordinal,
            "kind": "detection",
            "label": "Nodule",
            "score": 0.5,
            "model_version_id": model,
            "payload": {"centre_mm": [1.0, 2.0, 3.0], "index_box": [0.0] * 6},
        }
        for job in jobs
        for ordinal in range(10)
    ]
    with unit_of_work(night.sessions) as session:
        session.add_all(studies)
        session.flush()
        session.add_all(jobs)
        session.flush()
        session.execute(insert(Result), results)


def test_the_page_says_once_which_step_was_skipped_and_why(night: Night, tmp_path: Path) -> None:
    fill(night)
    export(night.sessions, night.store, night.batch_id, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("Step boxes was skipped: the mask of step lungs is empty.") == 1
