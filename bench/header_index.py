"""How many headers does one core index in a second, and how many times faster than pydicom?

    python -m bench.header_index --work FOLDER [--series 8] [--slices 250] [--rounds 5]

Explicit little endian CT of 512 x 512 with some 130 elements, warm in the page cache. One file
counts as indexed when it has been opened, read, walked, judged and packed, in one process. pydicom
reads the same elements of the same files and stops before the pixels; it gets a tenth of the
files. Both take turns, since the speed of shared machines drifts, and are counted in seconds of
this process on its core. The whole transport (a pool of one reader, started, asked and heard) is
printed as well, in seconds of the clock. Exits with 1 below the "must" of one core.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import dcmread

from bench import ct_headers
from pipeline.dicom.headers.process import Indexed
from pipeline.dicom.headers.readers import HeaderReaders
from pipeline.dicom.headers.reading import HeaderReader
from pipeline.dicom.headers.wanted import META, TAGS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.sources.opening import open_source

MUST_FILES = 30_000
_LIMITS = HeaderLimits()
_SALT = b"bench"


def ours(root: Path, names: Sequence[str]) -> None:
    """Index files in this process."""
    source, reader = open_source(str(root)), HeaderReader(_LIMITS, _SALT)
    for name in names:
        with source.open(name) as file:
            reader.index(file, name)


def by_pydicom(root: Path, names: Sequence[str]) -> None:
    """Read the same elements by pydicom, which stops before the pixels and converts them."""
    tags = [tag for keyword, tag in TAGS.items() if keyword not in META]
    for name in names:
        dataset = dcmread(root / name, stop_before_pixels=True, specific_tags=tags)
        values = [dataset[tag].value for tag in tags if tag in dataset]
        assert values


def pooled(root: Path, names: Sequence[str], processes: int) -> None:
    """Index files in children and receive what they answer."""
    with HeaderReaders(str(root), processes=processes, limits=_LIMITS, salt=_SALT) as readers:
        answers = [answer for _, answer in readers.read(names)]
    assert len(answers) == len(names)
    assert all(isinstance(answer, Indexed) for answer in answers)


def rate(work: Callable[[], None], files: int, clock: Callable[[], float]) -> float:
    """Return files per second."""
    gc.collect()
    began = clock()
    work()
    return files / (clock() - began)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.header_index", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where the files are kept")
    parser.add_argument("--series", type=int, default=8)
    parser.add_argument("--slices", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    root = ct_headers.make(options.work / "headers", series=options.series, slices=options.slices)
    names = [entry.name for entry in open_source(str(root)).entries() if entry.refused is None]
    mixed = sorted(names, key=lambda name: name.rsplit("/", 1)[1])
    few = names[::10]
    ours(root, names)  # warm: the files into the page cache
    found: dict[str, list[float]] = {
        "own walk": [],
        "own walk, series mixed": [],
        "pydicom": [],
        "pool of 1 reader": [],
    }
    core, wall = time.process_time, time.perf_counter
    for _ in range(options.rounds):
        found["own walk"].append(rate(lambda: ours(root, names), len(names), core))
        found["pydicom"].append(rate(lambda: by_pydicom(root, few), len(few), core))
        found["own walk, series mixed"].append(rate(lambda: ours(root, mixed), len(mixed), core))
        found["pool of 1 reader"].append(rate(lambda: pooled(root, names, 1), len(names), wall))
    return judge(found, len(names))


def judge(found: dict[str, list[float]], count: int) -> int:
    """Print rates and ratios; return 0 where the must is met."""
    print(f"{count} files\n{'':26}{'files/s':>9}  range")
    for way, rates in found.items():
        median = statistics.median(rates)
        print(f"{way:26}{median:9,.0f}  {min(rates):,.0f} to {max(rates):,.0f}")
    ratios = [a / b for a, b in zip(found["own walk"], found["pydicom"], strict=True)]
    best = statistics.median(found["own walk"])
    print(f"\n{best:,.0f} files/s/core (must {MUST_FILES:,})")
    print(f"{statistics.median(ratios):.1f} times pydicom, {min(ratios):.1f} to {max(ratios):.1f}")
    return 0 if best >= MUST_FILES else 1


if __name__ == "__main__":
    sys.exit(main())
