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
from typing import Final

from pipeline.deidentify.carrying import Order, carry
from pipeline.deidentify.instance import Method
from pipeline.deidentify.keys import Key
from pipeline.deidentify.profile import Option
from pipeline.errors import ComputeFailed, StudyRejected
from pipeline.reasons import Reason
from pipeline.training import box_files, dicom_labels, nrrd, pictures, videos
from pipeline.training.faults import Fault, ManifestInvalid
from pipeline.training.manifest import Case, Snapshot, content_digest, snapshot_of
from pipeline.training.reading import LabelRefused

#: intervals between dates stay (SUV needs them), and reports that hold labels may pass
OPTIONS: Final = frozenset({Option.MODIFIED_DATES, Option.CLEAN_STRUCTURED_CONTENT})
_BOXES: Final = (".json", ".xml")
_UNREADABLE: Final = (ValueError, KeyError, TypeError, EOFError, struct.error, zlib.error)
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
    return snapshot_of(cases, snapshot.warnings)


def _copied(case: Case, key: Key, place: Path) -> Case:
    """Copy the files of one case; the last thing written says that all of it is there."""
    done = place / "done"
    if not done.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, parents=True)
        names = [
            None if image is None else _copy(image, place / f"image{number}", key)
            for number, image in enumerate(case.images)
        ]
        label_name = _copy_label(case, place / "label", key)
        done.write_text(json.dumps({"images": names, "label": label_name}))
    copied = json.loads(done.read_text())
    first, *more = copied["images"]
    beside = tuple(None if name is None else place / name for name in more)
    label = case.label if copied["label"] is None else place / copied["label"]
    copies = replace(case, image=place / first, beside=beside, label=label)
    return replace(
        copies,
        patient_id=key.pseudonym(f"id\0{case.patient_id}\0"),
        image_digest=content_digest(copies.images),
        label_digest=label if isinstance(label, str) else content_digest([label]),
    )


def _copy_label(case: Case, target: Path, key: Key) -> str | None:
    """Copy the file of a label; boxes of any form become those of this one image in our own."""
    if not isinstance(case.label, Path):
        return None
    if not case.label.name.lower().endswith(_BOXES) or dicom_labels.is_dicom(case.label):
        return _copy(case.label, target, key)
    try:
        stated = box_files.read(case.label, case.image.name)
    except LabelRefused as refused:
        raise _Refused("it cannot be read, and so not be de-identified") from refused
    target.with_suffix(".json").write_text(box_files.dump(stated))
    return target.with_suffix(".json").name


def _copy(source: Path, target: Path, key: Key) -> str:
    """Copy one file or folder. Returns the name of the copy, which says its form."""
    if source.is_dir() or dicom_labels.is_dicom(source):
        _copy_dicom(source, target, key)
        return target.name
    name = source.name.lower()
    forms: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        ".nii": (".nii", _without_text),
        ".nii.gz": (".nii", lambda data: _without_text(gzip.decompress(data))),
        ".nrrd": (".nrrd", nrrd.without_remarks),
        ".npy": (".npy", lambda data: data),
        **dict.fromkeys(pictures.SUFFIXES, (".tif", pictures.without_remarks)),
        **dict.fromkeys(videos.SUFFIXES, (".tif", videos.without_remarks)),
    }
    suffix = next((one for one in forms if name.endswith(one)), None)
    if suffix is None:
        raise _Refused("files of its form cannot be de-identified")
    copied, clean = forms[suffix]
    try:
        data = clean(source.read_bytes())
    except (*_UNREADABLE, StudyRejected) as error:
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
