"""The verbs that make copies and take results back, as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pydicom import dcmread

from records import audit, database
from records.database import reading
from records.listing import audit_records
from records.listing.trail import About
from tests.pipeline.dicom import made_series

MARKER = "ZQCANARYQZ"


def ask(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "worker", *words, "--by", "tester"],
        env=os.environ | {"NIGHTSHIFT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def _source(folder: Path) -> Path:
    stack = made_series.stack(3)
    for one in stack:
        one.PatientName, one.PatientID = f"{MARKER}^Erika", MARKER
    stack[2].BurnedInAnnotation = "YES"
    return made_series.write(folder / MARKER, stack)


def test_a_copy_is_made_and_audited_and_nothing_says_who_it_is_of(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    url = f"sqlite:///{home / 'nightshift.db'}"
    database.upgrade(url)
    source = _source(tmp_path)
    words = (str(source), "--out", str(out), "--option", "modified-dates")
    answer = ask(home, "deidentify", *words, "--map", str(tmp_path / "map"))
    assert answer.returncode == 4, answer.stderr
    said = json.loads(answer.stdout.splitlines()[-1])
    assert said["verdicts"] == {"deidentify.burned_in": 1, "ok": 2}
    assert MARKER not in answer.stdout + answer.stderr
    for path in out.rglob("*"):
        assert path.is_dir() or MARKER.encode() not in path.read_bytes()
    assert (home / "deidentify.key").stat().st_mode & 0o077 == 0
    sessions = database.session_factory(database.connect(url))
    with reading(sessions) as session:
        assert audit.verify(session).ok
        page = audit_records(session, About(event_id="source.deidentified"), limit=5, cursor=None)
    assert MARKER not in repr(page)
    assert "tester" in repr(page)
    back = ask(
        home,
        "reidentify",
        str(out),
        "--out",
        str(tmp_path / "back"),
        "--map",
        str(tmp_path / "map"),
    )
    assert back.returncode == 0, back.stderr
    restored = [dcmread(path) for path in (tmp_path / "back").rglob("*.dcm")]
    assert {one.PatientID for one in restored} == {MARKER}
    assert {one.StudyInstanceUID for one in restored} == {made_series.STUDY}


def test_wrong_words_are_refused_in_a_sentence(tmp_path: Path) -> None:
    home, source, out = tmp_path / "home", _source(tmp_path), str(tmp_path / "out")
    for words, status in (
        ((str(source), "--option", "everything"), 2),
        ((str(source), "--option", "full-dates", "--option", "modified-dates"), 2),
        ((str(source), "--pixel-rules", str(tmp_path / "none")), 2),
        ((str(tmp_path / "nowhere"),), 3),
    ):
        answer = ask(home, "deidentify", *words, "--out", out)
        assert answer.returncode == status, answer.stderr
        assert len(answer.stderr.splitlines()) == 1
        assert not Path(out).exists()
