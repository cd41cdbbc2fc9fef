"""Learning from cases without a label too: student and teacher shall say the same of them.

Tarvainen and Valpola, "Mean teachers are better role models: Weight-averaged consistency targets
improve semi-supervised deep learning results", NIPS 2017. The teacher is the average of the
student over the past steps, and is what is validated and kept. Each sees a view of its own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.checkpoint import Weights
from pipeline.training.fields import SemiSupervisedField
from pipeline.training.task import Loss
from pipeline.training.views import Views
from pipeline.training.wrapping import Wrapping, named

_TEACHER: Final = "teacher."


class Pair(nn.Module):
    """A student that learns and its teacher, which answers where nothing is learnt."""

    steps: Tensor

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(requires_grad=False).eval()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, *inputs: Any, **beside: Any) -> Any:
        """Answer as the student in training, else as the teacher."""
        return (self.student if self.training else self.teacher)(*inputs, **beside)

    def train(self, mode: bool = True) -> Pair:  # noqa: FBT001, FBT002 - as torch has it
        """Set the student's mode; the teacher is always as it is in use."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the teacher towards the student, far in the first steps, where neither knows much.

        Statistics of batches are averages already: they are taken over as they are.
        """
        self.steps += 1
        kept = min(decay, 1 - 1 / (float(self.steps) + 1))
        learnt = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
        for weight, student in learnt:
            weight.lerp_(student, 1 - kept)
        counted = zip(self.teacher.buffers(), self.student.buffers(), strict=True)
        for buffer, seen in counted:
            buffer.copy_(seen)


class Lesson(NamedTuple):
    """What one step learns from."""

    labelled: Any
    #: two views of the same images, (B, channels, *size)
    student: Tensor
    teacher: Tensor
    #: of their disagreement
    weight: float


@dataclass(frozen=True, kw_only=True)
class MeanTeacher(Wrapping):
    """Around a task that answers with logits (B, classes, ...)."""

    wanted: SemiSupervisedField
    views: Views

    def network(self) -> nn.Module:
        """Return a student with fresh weights and a teacher with the same."""
        return Pair(self.inner.network())

    def batches(self, epoch: int, first: int) -> Iterator[Lesson]:
        """Yield each labelled batch with images that need no label."""
        weight = self.wanted.weight * _ramp(epoch, self.wanted.ramp_up)
        is_aligned = self.views.recipe.kind != "classification"
        for place, batch in enumerate(self.inner.batches(epoch, first), first):
            random = self.views.random(epoch, place)
            chosen = self.views.some(self.wanted.batch, random)
            student, teacher = self.views.pairs(chosen, random, is_aligned=is_aligned)
            yield Lesson(batch, student, teacher, weight)

    def loss(self, network: nn.Module, batch: Lesson) -> Loss:
        """Return the loss of the labelled batch, and how far student and teacher disagree."""
        pair = _pair(network)
        with torch.no_grad():
            taught = self._scores(pair.teacher(batch.teacher), batch.teacher)
        said = self._scores(network(batch.student), batch.student)
        disagreement = functional.mse_loss(said, taught)
        labelled = named(self.inner.loss(pair.student, batch.labelled), "labelled")
        return labelled | {"disagreement": batch.weight * disagreement}

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Let the inner task set up the student."""
        super().begin_epoch(_pair(network).student, epoch)

    def after_step(self, network: nn.Module) -> None:
        """Let the teacher follow."""
        super().after_step(_pair(network).student)
        _pair(network).follow(self.wanted.decay)

    def _scores(self, answer: Tensor | Sequence[Tensor], images: Tensor) -> Tensor:
        """Return what is compared: one score for each label, of several answers the finest."""
        logits = answer if isinstance(answer, Tensor) else answer[0]
        if logits.ndim > images.ndim:  # deep supervision, one answer after the other
            logits = logits[:, 0]
        return logits.sigmoid() if self.views.recipe.takes_several_labels else logits.softmax(1)


def bundle_weights(weights: Mapping[str, Tensor]) -> Weights:
    """Return the teacher's weights: those of the network that the recipe names."""
    return {
        name.removeprefix(_TEACHER): tensor
        for name, tensor in weights.items()
        if name.startswith(_TEACHER)
    }


def _pair(network: nn.Module) -> Pair:
    if not isinstance(network, Pair):
        message = "a mean teacher is trained with a pair of networks"
        raise TypeError(message)
    return network


def _ramp(epoch: int, ramp_up: int) -> float:
    """Return the weight's rise from almost 0 to 1: the paper's sigmoid."""
    return 1.0 if epoch >= ramp_up else math.exp(-5 * (1 - epoch / ramp_up) ** 2)
