"""Writes corrected cases down as a manifest with its files, for a training or for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pipeline.dicom.patient import patient_id
from pipeline.dicom.sources.opening import open_source
from pipeline.training.manifest import joining
from records.corrected import CorrectedCase
from records.corrections import MaskForm
from worker.store import Store

_SUFFIXES: Final = {MaskForm.DICOM_SEG: ".dcm", MaskForm.NIFTI: ".nii.gz"}


def write_manifest(
    cases: Iterable[CorrectedCase], base: Path | None, folder: Path, store: Store
) -> Path:
    """Write ``folder``/manifest.csv, the rows of ``base`` and then one for each case, with copies.

    The copies are named from the manifest, so that the folder may be moved. It names patients as
    the images do: it belongs where the images may lie.

    Raises:
        TrainingRefused: ``base`` is no CSV manifest.
        PipelineError, OSError: a file of a source is no longer there.

    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    partial = path.with_suffix(".partial")
    rows = [_write(case, folder, store) for case in cases]
    partial.write_text(joining.joined(base, rows), encoding="utf-8")
    return partial.replace(path)


def _write(case: CorrectedCase, folder: Path, store: Store) -> Mapping[str, str]:
    images = folder / "images" / str(case.number)
    images.mkdir(mode=0o700, parents=True, exist_ok=True)
    source, patient = open_source(case.source), ""
    for number, name in enumerate(case.paths):
        with source.open(name) as file:
            content = file.read_at(0, file.size)
        (images / f"{number:05}.dcm").write_bytes(content)
        patient = patient or patient_id(content)
    return {
        "image": str(images.relative_to(folder)),
        "label": _label(case, folder, store),
        "patient_id": patient or case.study_instance_uid,
    }


def _label(case: CorrectedCase, folder: Path, store: Store) -> str:
    """Return the label of a case as manifests state it; boxes and masks are files."""
    if case.label is not None:
        return case.label
    labels = folder / "labels"
    labels.mkdir(mode=0o700, exist_ok=True)
    if case.mask is None or case.mask_form is None:
        path = labels / f"{case.number}.json"
        path.write_text(json.dumps({"boxes": case.boxes}))
    else:
        path = labels / f"{case.number}{_SUFFIXES[case.mask_form]}"
        mask = case.mask
        path.write_bytes(store.path(mask).read_bytes() if isinstance(mask, str) else mask)
    return str(path.relative_to(folder))
