"""How long a training may take."""

from __future__ import annotations

from pydantic import Field

from pipeline.training.fields.base import Strict


class BudgetField(Strict):
    """The training ends with the best weights so far when this is used up."""

    #: of learning and validating, over all attempts
    hours: float = Field(gt=0, le=10_000)

    @property
    def seconds(self) -> float:
        """The budget in seconds."""
        return 3600 * self.hours
