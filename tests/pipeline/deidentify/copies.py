"""What the tests of de-identification share: a key, a method, one file in and out."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from pipeline.deidentify.carrying import Report
from pipeline.deidentify.identity_map import IdentityMap
from pipeline.deidentify.instance import Method, deidentify
from pipeline.deidentify.keys import Key
from pipeline.deidentify.pixel_rules import PixelRules
from pipeline.deidentify.profile import Option
from pipeline.deidentify.run import Order, run
from pipeline.deidentify.writing import write
from pipeline.dicom.sources.folder import RegularFile

KEY = Key(bytes(range(32)))
OTHER_KEY = Key(bytes(32))


def method(*options: Option, key: Key = KEY, rules: PixelRules | None = None) -> Method:
    return Method(key=key, options=frozenset(options), rules=rules or PixelRules())


def copied_file(path: Path, how: Method, out: Path) -> Path:
    """De-identify one file in this process."""
    with RegularFile(path) as file:
        write(deidentify(file, how), out)
    return out


def copied(dataset: Dataset, folder: Path, *options: Option, how: Method | None = None) -> Dataset:
    """Write a data set, de-identify its file, read the copy."""
    folder.mkdir(parents=True, exist_ok=True)
    dcmwrite(folder / "in.dcm", dataset, enforce_file_format=True)
    out = copied_file(folder / "in.dcm", how or method(*options), folder / "out.dcm")
    return dcmread(io.BytesIO(out.read_bytes()))


def copied_folder(
    source: Path,
    out: Path,
    how: Method,
    *,
    identities: IdentityMap | None = None,
    processes: int = 2,
) -> Report:
    """De-identify a folder in children."""
    order = Order(source=str(source), out=out, method=how, processes=processes)
    return run(order, identities=identities, on_progress=lambda _count: None)


def items(dataset: Dataset) -> Iterable[Dataset]:
    """Yield a data set and all items below it."""
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from items(item)
