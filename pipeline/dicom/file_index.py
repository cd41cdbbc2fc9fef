"""What a scan has found so far: one row per file, on disk, so that any size fits and it can go on.

A private SQLite file. It holds facts of headers and a key, no pixels, and can always be made
again from the source; what it says of a file holds as long as name, size and stamp are the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.dicom import file_index_storage as storage
from pipeline.dicom.headers.process import Answer, Refusal
from pipeline.dicom.sources.source import Entry
from pipeline.dicom.sources.walking import changed_at
from pipeline.errors import PipelineError
from pipeline.reasons import Reason

#: made once the files are there: they would slow the filling
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS by_study ON files (study, name) WHERE header IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS by_series ON files (series, name)",
    "CREATE INDEX IF NOT EXISTS by_sop ON files (sop, name) WHERE header IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS by_folder ON files (folder, series)",
    "CREATE INDEX IF NOT EXISTS loose ON files (name) WHERE header IS NULL OR twin <> 0",
)
_KEEP: Final = (
    "INSERT INTO files (name, folder, size, stamp, round, verdict, sentence, study, series, sop,"
    " header) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET folder = excluded.folder, size = excluded.size,"
    " stamp = excluded.stamp, round = excluded.round, verdict = excluded.verdict,"
    " sentence = excluded.sentence, study = excluded.study, series = excluded.series,"
    " sop = excluded.sop, header = excluded.header, twin = 0"
)
#: rows written, and names looked up, at a time
_CHUNK: Final = 500
#: ns between two times that a file system tells apart, at most: FAT counts in steps of 2 s
LONGEST_TICK: Final = 2 * 10**9
#: a trouble of the moment: such a file is read again when the scan goes on
_PASSING: Final = Reason.FILE_UNREADABLE.value
_COPY, _CONFLICT = 1, 2


class IndexBusy(PipelineError):
    """Another process is filling this index."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The verdict on one file."""

    name: str
    size: int
    verdict: Reason
    sentence: str | None
    sop_instance_uid: str | None


class FileIndex:
    """The rows of one source. Used by one thread; held by one process at a time.

    A file is *accepted* where it holds an image and no other file says that it holds the same.
    """

    def __init__(self, path: Path | None, key: str, now: int = 0) -> None:
        """Open an index, or begin one.

        Args:
            path: where it is kept, readable by its owner only; None = nowhere, gone at the end.
            key: what the rows depend on besides the files. Rows made under another are dropped.
            now: in ns since the epoch, noted where the index is begun; 0 = not known.

        Raises:
            IndexBusy: another process has it open.

        """
        try:
            self._database = storage.opened(path, key, now)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise IndexBusy("another process scans into this index", Reason.RUN_ERROR) from None
            raise
        self._pending: list[tuple[object, ...]] = []
        self._round = int.from_bytes(self._fact("round"), "big") + 1
        self._remember("round", self._round.to_bytes(8, "big"))
        self._is_new = self._database.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None
        #: keys the digests of patients: the same whenever the scan goes on
        self.salt: bytes = self._fact("salt")
        self._begun = int.from_bytes(self._fact("begun"), "big")

    def unread(self, entries: Sequence[Entry]) -> list[Entry]:
        """Note entries of the source; return those that must be opened for a verdict."""
        known = {} if self._is_new else self._known([entry.name for entry in entries])
        readable = {entry.name for entry in entries if entry.refused is None}
        wanted: list[Entry] = []
        again: list[tuple[int, str]] = []
        for entry in entries:
            size, stamp, verdict, at = known.get(entry.name, (-1, "", "", 0))
            if entry.refused is not None:
                # Where a readable file bears the name that this one is shown by, that one counts.
                if at != self._round and entry.name not in readable:
                    reason, sentence = entry.refused
                    self.keep(entry, Refusal(reason=reason, sentence=sentence))
            elif (size, stamp) == (entry.size, entry.stamp) and stamp and verdict != _PASSING:
                again.append((self._round, entry.name))
            else:
                wanted.append(entry)
        self._database.executemany("UPDATE files SET round = ? WHERE name = ?", again)
        return wanted

    def _known(self, names: Sequence[str]) -> dict[str, tuple[int, str, str, int]]:
        marks = ",".join("?" * len(names))
        query = f"SELECT name, size, stamp, verdict, round FROM files WHERE name IN ({marks})"  # noqa: S608 - question marks only
        rows = self._database.execute(query, names)
        return {name: (size, stamp, verdict, at) for name, size, stamp, verdict, at in rows}

    def keep(self, entry: Entry, answer: Answer) -> None:
        """Note the verdict on an entry."""
        folder = entry.name.rpartition("/")[0]
        place = (entry.name, folder, entry.size, entry.stamp, self._round)
        if isinstance(answer, Refusal):
            uids = (answer.study_instance_uid, answer.series_instance_uid, answer.sop_instance_uid)
            verdict = (answer.reason.value, answer.sentence, *uids, None)
            self._pending.append((*place, *verdict))
        else:
            self._pending.append((*place, Reason.OK.value, None, *answer))
        if len(self._pending) >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write down what is noted, so that a killed scan goes on behind it."""
        self._database.executemany(_KEEP, self._pending)
        self._database.commit()
        self._pending.clear()

    def finish(self) -> None:
        """Drop the files that the source does not hold any more, and make ready for questions."""
        self.flush()
        self._database.execute("DELETE FROM files WHERE round <> ?", (self._round,))
        self._database.execute("UPDATE files SET twin = 0 WHERE twin <> 0")
        for statement in _INDEXES:
            self._database.execute(statement)
        self._database.commit()

    def repeated(self) -> Iterator[str]:
        """Yield every SOPInstanceUID that more than one image file states."""
        query = (
            "SELECT sop FROM files WHERE header IS NOT NULL GROUP BY sop HAVING count(*) > 1"
            " ORDER BY sop"
        )
        return (sop for (sop,) in self._database.execute(query).fetchall())

    def images_of(self, sop: str) -> Iterator[tuple[str, bytes]]:
        """Yield (name, packed header) of the files that state a SOPInstanceUID, by name."""
        query = "SELECT name, header FROM files WHERE sop = ? AND header IS NOT NULL ORDER BY name"
        return iter(self._database.execute(query, (sop,)))

    def mark_copies(self, sop: str, kept: str) -> None:
        """Note that all files of an instance but ``kept`` only repeat it."""
        query = "UPDATE files SET twin = ? WHERE sop = ? AND name <> ? AND header IS NOT NULL"
        self._database.execute(query, (_COPY, sop, kept))

    def mark_conflict(self, sop: str) -> None:
        """Note that the files of an instance disagree on it."""
        query = "UPDATE files SET twin = ? WHERE sop = ? AND header IS NOT NULL"
        self._database.execute(query, (_CONFLICT, sop))

    def files(self, *, loose: bool = False) -> Iterator[Row]:
        """Yield the verdicts sorted by name; of the files that are not accepted where ``loose``."""
        where = "WHERE header IS NULL OR twin <> 0" if loose else ""
        query = f"SELECT name, size, verdict, sentence, sop, twin FROM files {where} ORDER BY name"  # noqa: S608 - one of two texts
        for name, size, verdict, sentence, sop, twin in self._database.execute(query):
            reason, why = (Reason.FILE_DUPLICATE, _TWINS[twin]) if twin else (verdict, sentence)
            yield Row(
                name=name,
                size=size,
                verdict=Reason(reason),
                sentence=why,
                sop_instance_uid=sop,
            )

    def counts(self) -> dict[Reason, int]:
        """Return how many files got each verdict."""
        query = (
            "SELECT CASE WHEN twin = 0 THEN verdict ELSE ? END AS said, count(*) FROM files"
            " GROUP BY said ORDER BY said"
        )
        rows = self._database.execute(query, (Reason.FILE_DUPLICATE.value,))
        return {Reason(verdict): count for verdict, count in rows}

    def studies(self) -> Iterator[str]:
        """Yield the StudyInstanceUIDs of accepted files, sorted."""
        first = (
            "SELECT study FROM files WHERE header IS NOT NULL AND twin = 0 AND study > ?"
            " ORDER BY study LIMIT 1"
        )
        study = ""
        while (row := self._database.execute(first, (study,)).fetchone()) is not None:
            study = row[0]
            yield study

    def images(self, study: str) -> Iterator[tuple[str, bytes]]:
        """Yield (name, packed header) of the accepted files of a study, by name."""
        query = (
            "SELECT name, header FROM files WHERE study = ? AND header IS NOT NULL AND twin = 0"
            " ORDER BY name"
        )
        return iter(self._database.execute(query, (study,)))

    def settled(self, names: Sequence[str]) -> dict[str, str]:
        """Return the stamps of those files that were at rest when the index was begun.

        A file that changed just then may have changed again, after it was read, within one tick
        of the clock that its stamp is of.
        """
        stamps: dict[str, str] = {}
        for start in range(0, len(names), _CHUNK):
            known = self._known(names[start : start + _CHUNK])
            stamps.update((name, stamp) for name, (_, stamp, _, _) in known.items())
        times = {name: changed_at(stamp) for name, stamp in stamps.items()}
        return {
            name: stamps[name]
            for name, time in times.items()
            if time is not None and time < self._begun - LONGEST_TICK
        }

    def spoil(self, name: str, refusal: Refusal) -> None:
        """Refuse a file that was accepted."""
        query = "UPDATE files SET header = NULL, verdict = ?, sentence = ? WHERE name = ?"
        self._database.execute(query, (refusal.reason.value, refusal.sentence, name))

    def lost(self, series: str, harmless: Iterable[Reason]) -> Reason | None:
        """Return why the first file is refused that says it belongs to a series, or None."""
        ignored = [reason.value for reason in harmless]
        marks = ",".join("?" * len(ignored))
        query = (
            "SELECT CASE twin WHEN 0 THEN verdict ELSE ? END FROM files WHERE series = ?"  # noqa: S608 - question marks only
            f" AND (twin = {_CONFLICT} OR (header IS NULL AND verdict NOT IN ({marks})))"
            " ORDER BY name LIMIT 1"
        )
        asked = (Reason.FILE_DUPLICATE.value, series, *ignored)
        row = self._database.execute(query, asked).fetchone()
        return None if row is None else Reason(row[0])

    def strays(self, series: str, suspects: Iterable[Reason]) -> int:
        """Count refused files, of no known series, in folders that hold this series alone.

        Args:
            series: SeriesInstanceUID.
            suspects: the verdicts that count.

        """
        wanted = [reason.value for reason in suspects]
        marks = ",".join("?" * len(wanted))
        query = (
            "SELECT count(*) FROM files AS stray WHERE stray.series IS NULL"  # noqa: S608 - question marks only
            f" AND stray.verdict IN ({marks})"
            " AND stray.folder IN (SELECT DISTINCT folder FROM files WHERE series = ?)"
            " AND NOT EXISTS (SELECT 1 FROM files AS other WHERE other.folder = stray.folder"
            " AND other.series <> ?)"
        )
        count: int = self._database.execute(query, (*wanted, series, series)).fetchone()[0]
        return count

    def close(self) -> None:
        """Write down what is noted and let go of the file."""
        with closing(self._database):
            self.flush()

    def _fact(self, name: str) -> bytes:
        return storage.fact(self._database, name) or b""

    def _remember(self, name: str, value: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
        self._database.commit()


_TWINS: Final = {
    _COPY: "another file holds the same instance",
    _CONFLICT: "another file claims the same SOPInstanceUID for other content; none is used",
}
