"""The split: by patient, so that no patient is on two sides or changes sides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.training.faults import Fault
from pipeline.training.fields import SplitField
from pipeline.training.manifest.cases import Case, Part
from pipeline.training.manifest.rows import Row
from pipeline.training.recipe import Recipe


def assign(patient_id: str, split: SplitField) -> Part:
    """Return the part of a patient: by hash, so that no patient moves as a manifest grows."""
    hashed = hashlib.sha256(f"nightshift split 1 {patient_id}".encode()).digest()
    position = int.from_bytes(hashed[:8], "big") / 2**64
    if position < split.held_out:
        return Part.HELD_OUT
    return Part.VALIDATION if position < split.held_out + split.validation else Part.TRAINING


def are_stated(rows: Sequence[Row]) -> bool:
    """Say whether the manifest splits its cases itself; unlabelled ones count for nothing."""
    return any(_states(row) for row in rows)


def settled(rows: Sequence[Row], recipe: Recipe) -> tuple[list[Row], list[Fault]]:
    """Give the cases that were added a part without moving a patient or what is held out.

    Each goes where the labelled cases of its patient are. A new patient joins the training part
    where the manifest states parts; else he is drawn like all others, but never held out: the
    test set would be another one after each case, and if he were trained on he would have to
    move once the manifest lists him.

    Returns:
        the rows without those that are left out, and which these are.

    """
    there = [row for row in rows if not row.is_added and row.stated_part is not Part.UNLABELLED]
    known = {row.patient_id: row.split for row in there}
    otherwise = "train" if are_stated(rows) else ""
    left_out = {
        row.number
        for row in rows
        if row.is_added and row.patient_id not in known and not otherwise
        if assign(row.patient_id, recipe.split) is Part.HELD_OUT
    }
    kept = [
        replace(row, split=known.get(row.patient_id, otherwise)) if row.is_added else row
        for row in rows
        if row.number not in left_out
    ]
    sentence = "left out: its patient would be held out, and what is held out stays as it was"
    return kept, [Fault(number, "split", sentence) for number in sorted(left_out)]


def half_stated(rows: Sequence[Row]) -> list[Fault]:
    """Return the rows without a split where others have one."""
    if not are_stated(rows):
        return []
    sentence = "it is empty, while other rows state one"
    return [Fault(row.number, "split", sentence) for row in rows if not row.split]


def divided(cases: Sequence[Case], recipe: Recipe) -> tuple[list[Case], list[Fault]]:
    """Split cases by patient, for a manifest that does not.

    Returns:
        the cases, and which are left out: unlabelled ones of patients that are not trained on.

    """
    drawn = {case.patient_id: assign(case.patient_id, recipe.split) for case in cases}
    kept = [
        case if case.part is Part.UNLABELLED else replace(case, part=drawn[case.patient_id])
        for case in cases
    ]
    labelled = {case.patient_id for case in kept if case.part is not Part.UNLABELLED}
    apart = [
        case
        for case in kept
        if case.part is Part.UNLABELLED
        and case.patient_id in labelled
        and drawn[case.patient_id] is not Part.TRAINING
    ]
    sentence = "left out: other cases of its patient are not trained on"
    left_out = {case.row for case in apart}
    notes = [Fault(row, "split", sentence) for row in sorted(left_out)]
    return [case for case in kept if case.row not in left_out], notes


def faults(cases: Sequence[Case], recipe: Recipe) -> Iterator[Fault]:
    """Yield the patients on two sides, and the parts that nobody is in."""
    sides: dict[str, set[Part]] = {}
    for case in cases:
        sides.setdefault(case.patient_id, set()).add(_side(case))
    sentence = "this patient is in more than one part"
    yield from (
        Fault(one.row, "split", sentence) for one in cases if len(sides[one.patient_id]) > 1
    )
    counts = Counter(case.part for case in cases)
    needed = {Part.TRAINING, Part.HELD_OUT}
    if recipe.early_stopping is not None:
        needed.add(Part.VALIDATION)
    sentence = "no patient is in the {} part; add patients or a split column"
    missing = [part for part in sorted(needed) if not counts[part]]
    yield from (Fault(0, "split", sentence.format(part)) for part in missing)


def _states(row: Row) -> bool:
    return bool(row.split) and not row.is_added and row.stated_part is not Part.UNLABELLED


def _side(case: Case) -> Part:
    return Part.TRAINING if case.part is Part.UNLABELLED else case.part
