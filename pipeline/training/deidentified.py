"""A snapshot of de-identified copies: what is trained on, hashed and kept names no patient.

DICOM goes through ``pipeline.deidentify``. Of the other forms, what may name somebody is cut out
of their headers and their voxels stay as they are: nobody can tell from a bare array or picture
whether a name is drawn in it.
"""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pipeline.deidentify.carrying import Order, carry
from pipeline.deidentify.instance import Method
from pipeline.deidentify.keys import Key
from pipeline.deidentify.profile import Option
from pipeline.errors import ComputeFailed
from pipeline.reasons import Reason
from pipeline.training import dicom_labels
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import Case, Snapshot, file_digest, snapshot_of

#: intervals between dates stay (SUV needs them), and reports that hold labels may pass
OPTIONS: Final = frozenset({Option.MODIFIED_DATES, Option.CLEAN_STRUCTURED_CONTENT})
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
#: (offset, length) of free text in the header, by its size (NIfTI-1, NIfTI-2)
_NIFTI_TEXT: Final = {
    348: ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)),
    540: ((240, 80), (320, 24), (508, 16)),
}


class _Refused(ValueError):
    """A file that cannot be de-identified; says why in a sentence without its name."""


def deidentified(
    snapshot: Snapshot, key: Key, folder: Path, *, checkpoint: Callable[[], None]
) -> Snapshot:
    """Copy the files of every case, de-identified, and return the snapshot of the copies.

    The parts of the split stay: a patient is where the original snapshot put them.

    Args:
        snapshot: of the originals.
        key: what new UIDs and pseudonyms are derived from.
        folder: where the copies go; a case that is there already is not copied again.
        checkpoint: called before each case; what it raises ends the work.

    Raises:
        ManifestInvalid: with every case that cannot be de-identified.
        ComputeFailed: the folder cannot be written.

    """
    faults: list[Fault] = []
    cases: list[Case] = []
    for case in snapshot.cases:
        checkpoint()
        place = folder / key.derive("case", case.digest).hex()
        try:
            cases.append(_copied(case, key, place))
        except _Refused as refused:
            faults.append(Fault(case.row, "image", str(refused)))
        except OSError as error:
            sentence = "the de-identified copies cannot be written"
            raise ComputeFailed(sentence, Reason.RUN_DISK_FULL) from error
    if faults:
        raise ManifestInvalid(faults)
    return snapshot_of(cases)


def _copied(case: Case, key: Key, place: Path) -> Case:
    """Copy the files of one case; the last thing written says that all of it is there."""
    done = place / "done"
    if not done.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, parents=True)
        names = {"image": _copy(case.image, place / "image", key)}
        if isinstance(case.label, Path):
            names["label"] = _copy(case.label, place / "label", key)
        done.write_text(json.dumps(names))
    names = json.loads(done.read_text())
    image = place / names["image"]
    label = case.label if isinstance(case.label, str) else place / names["label"]
    return replace(
        case,
        image=image,
        label=label,
        patient_id=key.pseudonym(f"id\0{case.patient_id}\0"),
        image_digest=file_digest(image),
        label_digest=label if isinstance(label, str) else file_digest(label),
    )


def _copy(source: Path, target: Path, key: Key) -> str:
    """Copy one file or folder. Returns the name of the copy, which says its form."""
    if source.is_dir() or dicom_labels.is_dicom(source):
        _copy_dicom(source, target, key)
        return target.name
    name = source.name.lower()
    forms: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        ".nii": (".nii", _without_text),
        ".nii.gz": (".nii", lambda data: _without_text(gzip.decompress(data))),
        ".npy": (".npy", lambda data: data),
        ".png": (".png", _without_chunks),
        ".json": (".json", _only_boxes),
    }
    suffix = next((one for one in forms if name.endswith(one)), None)
    if suffix is None:
        raise _Refused("files of its form cannot be de-identified")
    copied, clean = forms[suffix]
    try:
        data = clean(source.read_bytes())
    except (ValueError, KeyError, TypeError, EOFError, struct.error, zlib.error) as error:
        raise _Refused("it cannot be read, and so not be de-identified") from error
    (target.with_suffix(copied)).write_bytes(data)
    return target.with_suffix(copied).name


def _copy_dicom(source: Path, target: Path, key: Key) -> None:
    order = Order(source=str(source), out=target, work=Method(key=key, options=OPTIONS), key=key)
    report = carry(order, keep=_nowhere, on_progress=_nowhere)
    refused = next((one for one in report.verdicts if one.is_loss), None)
    if refused is not None:
        raise _Refused(f"{refused.reason.value}: {refused.detail}")


def _nowhere(what: object) -> None:
    """Keep and tell nothing."""


def _without_text(data: bytes) -> bytes:
    """Return NIfTI bytes without free text and without extensions."""
    order = "<" if struct.unpack("<i", data[:4])[0] in _NIFTI_TEXT else ">"
    size = struct.unpack(f"{order}i", data[:4])[0]
    changed = bytearray(data)
    for offset, length in _NIFTI_TEXT[size]:
        changed[offset : offset + length] = bytes(length)
    form, place = (f"{order}f", 108) if size == 348 else (f"{order}q", 168)
    start = int(struct.unpack_from(form, data, place)[0])
    if not size <= start <= len(data):
        raise ValueError("the voxels begin outside the file")
    changed[size:start] = bytes(start - size)
    return bytes(changed)


def _without_chunks(data: bytes) -> bytes:
    """Return PNG bytes of nothing but the picture."""
    if data[:8] != _PNG:
        raise ValueError("it is no PNG picture")
    kept, place = bytearray(_PNG), 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunk = data[place : place + 12 + length]
        if chunk[4:8] in _PNG_CHUNKS:
            kept += chunk
        place += len(chunk)
    return bytes(kept)


def _only_boxes(data: bytes) -> bytes:
    """Return the boxes of a label file without whatever else somebody noted in it."""
    listed: list[dict[str, Any]] = json.loads(data)["boxes"]
    boxes = [{name: box[name] for name in ("label", "centre", "size")} for box in listed]
    return json.dumps({"boxes": boxes}).encode()
