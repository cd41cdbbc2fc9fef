"""The rule of a gate: by what a candidate is held against the active version.

It stands in the recipe, and word for word in every gate that was decided by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.evaluation import objects, summary
from pipeline.evaluation.comparison import Question
from pipeline.evaluation.scores import Kind, Scores

#: what the versions of a model are compared by where its recipe does not say
USUAL: Final[Mapping[Kind, str]] = {
    "classification": "balanced_accuracy",
    "multi-label": "mean_auc",
    "segmentation": "mean_dice",
    "detection": "map_50_95",
    "restoration": "psnr_db",
}
#: of each label of a segmentation, stated only where there are volumes, or single images
SIZES_OF_FALSE_ALARMS: Final = ("false_alarm_ml", "false_alarm_pixels")
Loss = Annotated[float, Field(ge=0.0)]


class _Stated(BaseModel):
    """Frozen; an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Floor(_Stated):
    """A figure that a candidate must reach, or not exceed where less is better."""

    statistic: str
    label: str | None = None
    value: float


class SubgroupRule(_Stated):
    """What must hold in each group of an attribute that enough patients belong to."""

    #: a loss of less than this, by the statistic of the rule, counts as none; None = not asked
    margin: Loss | None = None
    floors: tuple[Floor, ...] = ()
    #: in a group with fewer patients that bear on a figure it is not asked
    least_patients: int = Field(default=10, ge=2)


class Rule(_Stated):
    """When a candidate may take the place of the active version."""

    #: None = the usual one of the kind
    statistic: str | None = None
    label: str | None = None
    wants: Literal["better", "not worse"] = "better"
    #: a loss of less than this counts as none, in the unit of the statistic
    margin: Loss = 0.0
    #: a gain of less than this counts as none
    least_gain: Loss = 0.0
    #: fewer patients that bear on a figure decide nothing
    least_patients: int = Field(default=20, ge=2)
    floors: tuple[Floor, ...] = ()
    #: by attribute: "sex", "age", "site", "vendor"
    subgroups: dict[str, SubgroupRule] = Field(default_factory=dict)

    @property
    def every_floor(self) -> list[Floor]:
        """The floors of all patients, then those of subgroups."""
        of_subgroups = (floor for rule in self.subgroups.values() for floor in rule.floors)
        return [*self.floors, *of_subgroups]

    def question(self, kind: Kind) -> Question:
        """Return what the two versions are compared by."""
        return Question(
            statistic=self.statistic or USUAL[kind],
            label=self.label,
            margin=self.margin,
            least_gain=self.least_gain,
            least_patients=self.least_patients,
        )

    def faults(
        self, kind: Kind, labels: Sequence[str], *, tells_objects_apart: bool = False
    ) -> Iterator[str]:
        """Yield a sentence for each figure that a model of this kind and labels does not have."""
        blank = Scores(
            kind=kind,
            labels=tuple(labels),
            surface_tolerance_mm=1.0,
            hit_iou=0.5,
            least_patients=1,
            cases=(),
        )
        known: set[tuple[str, str | None]] = {
            (one.name, one.label)
            for one in summary.statistics(blank)
            if one.is_higher_better is not None
        }
        if kind == "segmentation":  # the blank has no case that would have a size
            known |= {(name, label) for name in SIZES_OF_FALSE_ALARMS for label in labels}
        if kind == "segmentation" and not tells_objects_apart:
            known -= {(one.name, one.label) for one in objects.statistics(blank)}
        asked = self.question(kind)
        floors = [(one.statistic, one.label) for one in self.every_floor]
        named = [(asked.statistic, asked.label), *floors]
        for statistic, label in named:
            if (statistic, label) not in known:
                of = "" if label is None else f" of {label}"
                yield f"a {kind} is not judged by {statistic}{of}"
