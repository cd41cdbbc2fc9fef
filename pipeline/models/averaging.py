"""One answer out of several: of the members of an ensemble, and of flipped and turned views.

Both are modules around a network, so predictors run them like any other. Averaged scores are handed
on as logits that stand for them: the logarithm of a mean of softmaxes, the logit of a mean of
sigmoids.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from pipeline.models import options
from pipeline.models.options import AveragingOptions, ClassificationOptions
from pipeline.models.spec import Kind, ModelSpec

Over: TypeAlias = Literal["softmax", "sigmoid", "logits"]
#: of a score: its logarithm must stay finite
_LEAST: Final = 1e-12


@dataclass(frozen=True)
class View:
    """An image mirrored along spatial axes, then turned by quarters in the last two."""

    flips: tuple[int, ...]
    quarters: int

    def of(self, images: Tensor) -> Tensor:
        """Return the view of images (batch, channels, *spatial)."""
        mirrored = images.flip([axis + 2 for axis in self.flips]) if self.flips else images
        return mirrored.rot90(self.quarters, (-2, -1)) if self.quarters else mirrored

    def back(self, answers: Tensor) -> Tensor:
        """Turn what was answered for the view back; an answer without space has no way to turn."""
        if answers.ndim == 2:
            return answers
        turned = answers.rot90(-self.quarters, (-2, -1)) if self.quarters else answers
        return turned.flip([axis + 2 for axis in self.flips]) if self.flips else turned


def views(flips: Sequence[int], *, turns: bool) -> list[View]:
    """Return every different mirror image along ``flips``, with ``turns`` each by four quarters."""
    mirrored = [
        tuple(axis for axis, is_in in zip(flips, chosen, strict=True) if is_in)
        for chosen in itertools.product((False, True), repeat=len(flips))
    ]
    return [View(flip, quarters) for flip in mirrored for quarters in range(4 if turns else 1)]


class Averaged(nn.Module):
    """The mean answer of several networks to several views of an image."""

    def __init__(self, members: Sequence[nn.Module], seen: Sequence[View], over: Over) -> None:
        """Average over the scores that ``over`` makes of logits, or over the answers themselves."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self._views = tuple(seen)
        self._over = over
        self._score, self._logit = _SCALES[over]

    def alone(self) -> list[nn.Module]:
        """Return each member by itself, with all views."""
        return [Averaged([member], self._views, self._over).eval() for member in self.members]

    def forward(self, images: Tensor, **beside: Tensor) -> Tensor:
        """Return what stands for the mean, of the shape of one answer.

        Args:
            images: (batch, channels, *spatial).
            beside: what the members take beside them, by their arguments.

        """
        total: Tensor | None = None
        for view in self._views:
            shown = view.of(images)
            for member in self.members:
                score = self._score(view.back(member(shown, **beside)))
                total = score if total is None else total + score
        if total is None:
            raise ValueError("there is neither a network nor a view")
        return self._logit(total / (len(self.members) * len(self._views)))


def wrap(spec: ModelSpec, network: nn.Module) -> nn.Module:
    """Return the network as the options of a model want it averaged; itself where they do not.

    ``network`` is a ``ModuleList`` of the members where there are several.
    """
    chosen = options.parse(spec.kind, spec.options)
    if not isinstance(chosen, AveragingOptions) or not chosen.is_averaged:
        return network
    members = list(network) if isinstance(network, nn.ModuleList) else [network]
    over: Over = "logits"
    if chosen.average == "scores" and spec.kind is not Kind.RESTORATION:
        is_multi = isinstance(chosen, ClassificationOptions) and chosen.activation == "sigmoid"
        over = "sigmoid" if is_multi else "softmax"
    return Averaged(members, views(chosen.flips, turns=chosen.turns), over).eval()


def _same(values: Tensor) -> Tensor:
    return values


def _softmax(values: Tensor) -> Tensor:
    return values.float().softmax(1)


def _log(values: Tensor) -> Tensor:
    return values.clamp(min=_LEAST).log()


def _logit(values: Tensor) -> Tensor:
    return values.double().logit(_LEAST).float()


_SCALES: Final[Mapping[Over, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]] = {
    "softmax": (_softmax, _log),
    "sigmoid": (torch.sigmoid, _logit),
    "logits": (_same, _same),
}
