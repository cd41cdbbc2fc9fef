"""What a step may ask of a model beside its answer: how sure it is of it, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass

_STRICT: Final = ConfigDict(extra="forbid")

Method: TypeAlias = Literal[
    "grad-cam", "grad-cam++", "occlusion", "feature-maps", "integrated-gradients", "attention"
]
#: methods that look at one layer of a network
OF_A_LAYER: Final[frozenset[Method]] = frozenset({"grad-cam", "grad-cam++", "feature-maps"})


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MonteCarloDropout:
    """Networks thinned at random by the dropout layers of one (Gal & Ghahramani, ICML 2016)."""

    samples: int = Field(default=20, ge=2, le=100)
    #: the same seed draws the same networks
    seed: int = Field(default=0, ge=0, lt=2**32)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Conformal:
    """The set of labels that holds the true one with at least this probability."""

    coverage: float = Field(default=0.9, ge=0.5, lt=1.0)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Uncertainty:
    """How a step finds out how sure its model is.

    A sample is one answer to the input. Members, mirrored views and thinned networks multiply: two
    members, four views and twenty networks are 160 samples. The answer is their mean.
    """

    monte_carlo_dropout: MonteCarloDropout | None = None
    #: whether each member of the model's own ensemble is a sample
    members: bool = False
    #: axes of the network's input, from 0, along which mirrored views are samples
    flips: tuple[Annotated[int, Field(ge=0, le=2)], ...] = Field(default=(), max_length=3)
    #: divides logits before they become scores (Guo et al., ICML 2017); stored: the model's own
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] | Literal["stored"] | None = None
    conformal: Conformal | None = None

    @model_validator(mode="after")
    def _ask_something(self) -> Self:
        if not (self.is_sampled or self.temperature is not None or self.conformal is not None):
            raise ValueError("nothing is asked")
        if len(set(self.flips)) < len(self.flips):
            raise ValueError("flips names an axis twice")
        return self

    @property
    def is_sampled(self) -> bool:
        """Whether there is more than one sample."""
        return self.monte_carlo_dropout is not None or self.members or bool(self.flips)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Explain:
    """Which map says where in its input a model saw a label."""

    method: Method
    #: the label that is explained; None = the likeliest
    label: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    #: name of the layer, as torch names modules; None = the last convolution
    layer: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,200}$")] | None = None

    @model_validator(mode="after")
    def _look_at_a_layer(self) -> Self:
        if self.layer is not None and self.method not in OF_A_LAYER:
            raise ValueError(f"{self.method} looks at no layer")
        return self


def asks(uncertainty: Uncertainty | None, explain: Iterable[Explain]) -> Iterator[str]:
    """Yield what a step asks, in words."""
    if uncertainty is not None:
        words = ", ".join(
            name.replace("_", " ") for name, value in asdict(uncertainty).items() if value
        )
        yield f"how sure the model is, by {words}"
    for one in explain:
        where = "" if one.layer is None else f" in layer {one.layer}"
        yield f"why, by {one.method} of {one.label or 'the likeliest label'}{where}"
