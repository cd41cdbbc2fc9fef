"""What is kept of every held-out case: numbers, no pixels. All that is said later comes from them.

Kept beside the model as JSON, so that any summary, and any comparison of two versions, can be
computed again. Nobody is named: cases and images are known by their digests, a patient by the
digest of one of his cases.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import PipelineError
from pipeline.evaluation.fidelity import Fidelity
from pipeline.reasons import Reason

#: what a model is judged as: its kind, or ``multi-label`` where any number of labels may hold
Kind = Literal["classification", "multi-label", "segmentation", "detection", "restoration"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Annotated[float, Field(ge=0.0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ScoresRefused(PipelineError):
    """Stored scores that are not what they should be."""

    reason = Reason.MODEL_UNAVAILABLE


class _Kept(BaseModel):
    """Frozen; what is unknown, infinite or no number is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Classified(_Kept):
    """A classification: number of the true label, and a score (0 to 1) for each label."""

    truth: int = Field(ge=0)
    scores: tuple[Share, ...]


class Labelled(_Kept):
    """A classification with any number of labels: what is true, and a score (0 to 1), of each."""

    truth: tuple[bool, ...]
    scores: tuple[Share, ...]


class Overlap(_Kept):
    """One label of a segmentation.

    Where the reference is empty nothing has a value but the sizes: what was found is a false
    alarm. Where nothing was found of what is there, ``hd95_mm`` has none. Distances have none in
    images that do not state how large their pixels are.
    """

    true_size: Size
    found_size: Size
    #: of the sizes: of volumes "ml", of single images "pixels"
    unit: Literal["ml", "pixels"]
    dice: Share | None = None
    surface_dice: Share | None = None
    hd95_mm: Size | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the reference holds nothing of this label."""
        return self.true_size == 0


class Boxes(_Kept):
    """One label of a detection: scores (N,), best first, and overlaps (N, truths) by IoU.

    Of boxes, or of the masks of objects.
    """

    truths: int = Field(ge=0)
    scores: tuple[Share, ...] = ()
    overlaps: tuple[tuple[Share, ...], ...] = ()

    @model_validator(mode="after")
    def _is_a_table(self) -> Boxes:
        if len(self.overlaps) != len(self.scores):
            message = "there is one row of overlaps for each box that was found"
            raise ValueError(message)
        if any(len(row) != self.truths for row in self.overlaps):
            message = "a row of overlaps has one column for each box that is true"
            raise ValueError(message)
        if list(self.scores) != sorted(self.scores, reverse=True):
            message = "boxes run from the best score down"
            raise ValueError(message)
        return self


class Restored(_Kept):
    """How near the answer came to the reference, and what was shown, brought to its grid."""

    answer: Fidelity
    baseline: Fidelity


class Attacked(_Kept):
    """A case whose input was changed so that the model errs; one of the last two, by the kind."""

    #: the most that a value of the 0..1 input was changed by
    epsilon: Share
    classified: Classified | None = None
    #: for each label, on the grid that the network sees; sizes in voxels
    overlaps: tuple[Overlap, ...] = ()


class CaseScores(_Kept):
    """One held-out case. One of the last five before ``attacked`` is set, by the kind."""

    #: sha256 of image and label together, and of the image alone
    case: Digest
    image: Digest
    #: the digest of one of the cases of the same patient
    patient: Digest
    #: what the manifest says of the case: "sex", "age", "site", "vendor"
    groups: dict[str, str] = Field(default_factory=dict)
    classified: Classified | None = None
    labelled: Labelled | None = None
    #: for each label
    overlaps: tuple[Overlap, ...] = ()
    boxes: tuple[Boxes, ...] = ()
    #: beside overlaps, where a segmentation tells objects apart: for each label, by their masks
    objects: tuple[Boxes, ...] = ()
    restored: Restored | None = None
    #: by rising strength, the same for each case
    attacked: tuple[Attacked, ...] = ()


class Scores(_Kept):
    """All held-out cases of one model version, and by which settings they were judged."""

    kind: Kind
    labels: tuple[str, ...]
    #: how far apart two surfaces may be and still count as one
    surface_tolerance_mm: float = Field(gt=0)
    #: a detection hits a box when they overlap at least this much, by IoU
    hit_iou: float = Field(gt=0, le=1)
    #: numbers of a subgroup are not stated for fewer patients
    least_patients: int = Field(ge=1)
    #: how inputs were changed, where cases were judged under attack
    attack: Literal["", "fgsm", "pgd"] = ""
    cases: tuple[CaseScores, ...]

    @model_validator(mode="after")
    def _holds_what_its_kind_is_judged_by(self) -> Scores:
        if not all(self._is_judged(case) for case in self.cases):
            message = f"a case does not hold what a {self.kind} of these labels is judged by"
            raise ValueError(message)
        if len({case.case for case in self.cases}) != len(self.cases):
            message = "two cases are the same"
            raise ValueError(message)
        strengths = [[one.epsilon for one in case.attacked] for case in self.cases]
        if any(stated != strengths[0] for stated in strengths) or (
            any(strengths) and not self.attack
        ):
            message = "every case is attacked by the same attack, equally strongly"
            raise ValueError(message)
        return self

    def _is_judged(self, case: CaseScores) -> bool:
        count = len(self.labels)
        match self.kind:
            case "classification":
                given = case.classified
                return given is not None and given.truth < count == len(given.scores)
            case "multi-label":
                stated = case.labelled
                return stated is not None and len(stated.truth) == count == len(stated.scores)
            case "segmentation":
                return len(case.overlaps) == count and len(case.objects) in (0, count)
            case "detection":
                return len(case.boxes) == count
            case "restoration":
                return case.restored is not None

    @property
    def patients(self) -> list[str]:
        """The patient of each case, in the order of the cases."""
        return [case.patient for case in self.cases]

    def of_cases(self, chosen: list[int]) -> Scores:
        """Return the same for some of the cases, in the order given."""
        return self.model_copy(update={"cases": tuple(self.cases[index] for index in chosen)})

    def dump(self) -> str:
        """Return JSON; the same scores give the same text."""
        return self.model_dump_json(indent=1, exclude_defaults=True) + "\n"


def parse(text: str | bytes) -> Scores:
    """Read scores as they were kept.

    Raises:
        ScoresRefused: no JSON, or not of this form.

    """
    try:
        return Scores.model_validate_json(text)
    except ValidationError as error:
        raise ScoresRefused("the scores that were kept with the model cannot be read") from error
