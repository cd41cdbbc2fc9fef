"""What is kept of a snapshot: which cases it held, and for what. Names no patient and no file.

Patients are known by pseudonyms under the key of the installation, so that two trainings can be
asked whether they share one, and nobody without the key can ask who it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.deidentify.keys import Key
from pipeline.errors import ComputeFailed
from pipeline.training.manifest import Case, Part, Snapshot

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeptCase(_Kept):
    """One case: sha256 of image and label together and of the image, and who it is of."""

    case: Digest
    image: Digest
    patient: str
    part: Part


class KeptCases(_Kept):
    """All cases of a snapshot, in its order."""

    snapshot: Digest
    #: tells under which key the pseudonyms were made
    key: str
    cases: tuple[KeptCase, ...]

    def patients(self, *, held_out: bool) -> frozenset[str]:
        """Return the patients that were held out, or those that were learnt from or chosen by."""
        return frozenset(
            one.patient for one in self.cases if (one.part is Part.HELD_OUT) == held_out
        )

    def images(self, *, held_out: bool) -> frozenset[str]:
        """Return the images that were held out, or the others."""
        return frozenset(one.image for one in self.cases if (one.part is Part.HELD_OUT) == held_out)

    def dump(self) -> str:
        """Return JSON; the same cases give the same text."""
        return self.model_dump_json(indent=1) + "\n"


def keep(snapshot: Snapshot, key: Key, *, is_deidentified: bool) -> KeptCases:
    """Return what is kept of a snapshot.

    Args:
        snapshot: of originals, or of de-identified copies.
        key: of the installation.
        is_deidentified: whether its patients are pseudonyms under that key already.

    """

    def patient(case: Case) -> str:
        return case.patient_id if is_deidentified else key.pseudonym(f"id\0{case.patient_id}\0")

    cases = (
        KeptCase(case=one.digest, image=one.image_digest, patient=patient(one), part=one.part)
        for one in snapshot.cases
    )
    return KeptCases(snapshot=snapshot.digest, key=key.fingerprint, cases=tuple(cases))


def parse(text: str | bytes) -> KeptCases:
    """Read what was kept.

    Raises:
        ComputeFailed: it is not of this form.

    """
    try:
        return KeptCases.model_validate_json(text)
    except ValidationError as error:
        raise ComputeFailed("what was kept of a snapshot cannot be read") from error


def shared(new: KeptCases, earlier: KeptCases, model: str) -> list[str]:
    """Say what makes the held-out cases of a training no fair test against an earlier version.

    Whoever an ancestor was trained on must not be judged on, and whoever was held out from it is
    locked: not to be trained on later either.

    Args:
        new: the cases of the candidate.
        earlier: those of the active version, or of what it or the candidate came from.
        model: name and version of the earlier one.

    """
    if new.key != earlier.key:
        return [f"the patients of {model} were named under another key: they cannot be compared"]
    found = []
    known = _met(new, earlier, is_judged=True)
    if known:
        found.append(f"{known} patients of the held-out cases were trained on by {model}")
    unlocked = _met(new, earlier, is_judged=False)
    if unlocked:
        found.append(f"{unlocked} patients that were held out from {model} are trained on now")
    return found


def shared_with_any(new: KeptCases, line: Mapping[str, KeptCases]) -> list[str]:
    """Say it of every earlier version of a line, by its name."""
    return [
        sentence
        for name, earlier in sorted(line.items())
        for sentence in shared(new, earlier, name)
    ]


def _met(new: KeptCases, earlier: KeptCases, *, is_judged: bool) -> int:
    """Count the patients of one side of ``new`` that were on the other side before.

    By their pseudonyms, or by an image: a patient may go by another id in another manifest.
    """
    patients = earlier.patients(held_out=not is_judged)
    images = earlier.images(held_out=not is_judged)
    met = (
        one.patient
        for one in new.cases
        if (one.part is Part.HELD_OUT) == is_judged
        and (one.patient in patients or one.image in images)
    )
    return len(set(met))
