"""What a case is: files made or found, and what the reader must say of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.errors import PipelineError
from pipeline.reasons import Reason
from pipeline.volume import Input
from tests.pipeline.dicom import made_series as series

Make = Callable[[Path], object]
Fault = Callable[[list[Dataset]], object]
Check = Callable[[list[Input]], None]


@dataclass(frozen=True)
class Case:
    """Files, and the verdicts that are right.

    ``files`` are the verdicts on files other than ok. ``series`` are the ends of the parts of
    all series, as "kind reason": the verdict of the scan or, where that is ok, of the read.
    """

    title: str
    make: Make
    files: tuple[Reason, ...] = ()
    series: tuple[str, ...] = ()
    #: looks at what was read, in the order of studies, series and parts
    check: Check | None = None


@dataclass(frozen=True)
class Outcome:
    """What the scan and the reads of a folder came to."""

    files: tuple[Reason, ...]
    series: tuple[str, ...]
    inputs: list[Input]


def judge(folder: Path) -> Outcome:
    """Scan a folder and read every part that the scan finds sound."""
    ends, inputs = [], list[Input]()
    files, studies = series.everything(folder)
    for study in studies:
        for one in study.series:
            reason = one.verdict
            if reason is Reason.OK:
                wanted = SeriesFiles.of(str(folder), one)
                try:
                    inputs.append(read(wanted, as_image=one.kind == "image"))
                except PipelineError as error:
                    reason = error.reason
            ends.append(f"{one.kind} {reason}")
    refused = sorted({file.verdict for file in files} - {Reason.OK})
    return Outcome(files=tuple(refused), series=tuple(sorted(ends)), inputs=inputs)


def hold(case: Case, folder: Path) -> None:
    """Make the files of a case and check that everything comes out as it says."""
    case.make(folder)
    outcome = judge(folder)
    assert outcome.files == tuple(sorted(case.files)), outcome
    assert outcome.series == tuple(sorted(case.series)), outcome
    if case.check is not None:
        case.check(outcome.inputs)


def slices(*faults: Fault, count: int = 5) -> Make:
    """Make a CT series of ``count`` slices with faults in it."""

    def make(folder: Path) -> None:
        made = series.stack(count)
        for fault in faults:
            fault(made)
        series.write(folder, made)

    return make


def each(**values: object) -> Fault:
    """Set elements of every slice; None removes one."""

    def fault(made: list[Dataset]) -> None:
        for one in made:
            for keyword, value in values.items():
                if value is not None:
                    setattr(one, keyword, value)
                elif keyword in one:
                    delattr(one, keyword)

    return fault


def one(number: int, **values: object) -> Fault:
    """Set elements of one slice."""
    return lambda made: each(**values)([made[number]])


def raw(keyword: str, value: bytes, vr: str = "DS", *, only: int | None = None) -> Fault:
    """Set an element to bytes that no library would write."""

    def fault(made: list[Dataset]) -> None:
        for dataset in made if only is None else [made[only]]:
            series.put_raw(dataset, keyword, vr, value)

    return fault


def found(*names: str) -> Make:
    """Copy files of pydicom's own test set."""

    def make(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = get_testdata_file(name, download=False)
            assert path is not None, name
            shutil.copy(str(path), folder / Path(name).name)

    return make


def found_tree(*parts: str) -> Make:
    """Copy a folder of pydicom's own test set."""

    def make(folder: Path) -> None:
        anchor = get_testdata_file("CT_small.dcm")
        shutil.copytree(Path(str(anchor)).parent.joinpath(*parts), folder, dirs_exist_ok=True)

    return make


def named(cases: Sequence[Case]) -> list[str]:
    """Return the titles, as pytest wants ids."""
    return [case.title for case in cases]
