"""What moves the weights: optimisers, learning rates, accumulation, mixed precision, averages."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import TrainingRefused
from pipeline.models.devices import has_amx
from pipeline.reasons import Reason
from pipeline.training import ranks
from pipeline.training.fields import OptimiserField
from pipeline.training.task import Turn

_Tensors = tuple[Tensor, ...] | list[Tensor]

#: cosine ends at this share of the learning rate
_COSINE_END: Final = 0.01


class Learnt(NamedTuple):
    """What came of one batch."""

    #: by name, the total of the first turn first
    losses: dict[str, float]
    #: in the batch, over all processes
    cases: int
    #: False while the gradients of more batches are added up
    has_moved: bool


class Optimisation:
    """Everything that moves the weights of a network, and all of its state."""

    def __init__(
        self, network: nn.Module, turns: Sequence[Turn], wanted: OptimiserField, epochs: int
    ) -> None:
        self._network = network
        self._wanted = wanted
        self._device = next(network.parameters()).device
        if mixed(wanted, self._device) is not None:
            _put_channels_last(network)
        self._learners = [_Learner(turn, wanted, epochs, self._device) for turn in turns]
        self._average = None if wanted.ema is None else averaged(network, wanted.ema)

    @property
    def answering(self) -> nn.Module:
        """The network that is validated and kept: the average, where one is asked for."""
        return self._network if self._average is None else self._average.module

    @property
    def learning_rate(self) -> float:
        """The rate of the first turn."""
        return float(self._learners[0].optimiser.param_groups[0]["lr"])

    def learn(self, batch: Any, step: int, steps: int) -> Learnt:
        """Learn from the batch at position ``step`` of an epoch of ``steps`` batches.

        Raises:
            TrainingRefused: a loss is not finite (``training.diverged``).

        """
        first = step - step % self._wanted.accumulate
        group = min(self._wanted.accumulate, steps - first)
        is_moving = step + 1 == first + group
        mine = ranks.cases_in(batch)
        cases = ranks.total([mine], self._device)[0]
        share = mine / cases
        said: dict[str, float] = {}
        for learner in self._learners:
            loss, parts = learner.loss(self._network, batch)
            said |= self._values({learner.name: loss} | parts, share)
            learner.pull(loss * (share / group))
            if is_moving:
                learner.move()
        if is_moving and self._average is not None:
            self._average.update_parameters(self._network)
        return Learnt(said, int(cases), is_moving)

    def finish_epoch(self, score: float | None) -> None:
        """Step the learning rates. ``score``: of the validation part, where it was looked at."""
        for learner in self._learners:
            learner.schedule.step(score)

    def state_dict(self) -> dict[str, Any]:
        """Return all state as tensors and plain values."""
        return {
            "learners": [learner.state_dict() for learner in self._learners],
            "average": None if self._average is None else self._average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state that ``state_dict`` returned."""
        for learner, one in zip(self._learners, state["learners"], strict=True):
            learner.load_state_dict(one)
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _values(self, losses: Mapping[str, Tensor], share: float) -> dict[str, float]:
        mine = [float(loss.detach()) * share for loss in losses.values()]
        values = ranks.total(mine, self._device)
        if not all(math.isfinite(value) for value in values):
            sentence = "the loss is no longer a finite number; try a lower learning rate"
            raise TrainingRefused(sentence, Reason.TRAINING_DIVERGED)
        return dict(zip(losses, values, strict=True))


class Schedule:
    """The learning rate by epoch: a linear warm-up, then what the recipe names."""

    def __init__(
        self, optimiser: torch.optim.Optimizer, wanted: OptimiserField, epochs: int
    ) -> None:
        self._warming = wanted.warm_up
        self._main = _main_schedule(optimiser, wanted, max(epochs - wanted.warm_up, 1))
        self._warm_up = lr_scheduler.LinearLR(
            optimiser, start_factor=1.0 / (wanted.warm_up + 1), total_iters=wanted.warm_up
        )

    def step(self, score: float | None) -> None:
        """Set the rate of the next epoch. ``score``: of this one, where it was looked at."""
        with warnings.catch_warnings():
            # torch cannot know of steps that were taken before a checkpoint
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            self._step(score)

    def _step(self, score: float | None) -> None:
        if self._warm_up.last_epoch < self._warming:
            self._warm_up.step()
        elif not isinstance(self._main, lr_scheduler.ReduceLROnPlateau):
            self._main.step()
        elif score is not None:
            self._main.step(score)

    def state_dict(self) -> dict[str, Any]:
        """Return all state as plain values."""
        return {"warm_up": self._warm_up.state_dict(), "main": self._main.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state that ``state_dict`` returned."""
        self._warm_up.load_state_dict(state["warm_up"])
        self._main.load_state_dict(state["main"])


class _Learner:
    """One turn with the optimiser, the schedule and the gradient scaler of its parameters."""

    def __init__(
        self, turn: Turn, wanted: OptimiserField, epochs: int, device: torch.device
    ) -> None:
        self.name = turn.name or "loss"
        self._turn = turn
        self._wanted = wanted
        self._device = device
        self.optimiser = _optimiser(turn.parameters, wanted)
        self.schedule = Schedule(self.optimiser, wanted, epochs)
        self._mixed = mixed(wanted, device)
        is_scaled = self._mixed == torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=is_scaled)
        self._weights = [one for one in turn.parameters if one.ndim > 1]

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is learnt from, and its parts by name where it has any."""
        is_mixed = self._mixed is not None
        with torch.autocast(self._device.type, dtype=self._mixed, enabled=is_mixed):
            loss = self._turn.loss(network, batch)
        parts = {} if isinstance(loss, Tensor) else {**loss}
        summands = [loss] if isinstance(loss, Tensor) else [*parts.values()]
        if self._wanted.l1:
            sizes = [weight.abs().sum() for weight in self._weights if weight.requires_grad]
            parts["l1-penalty"] = self._wanted.l1 * torch.stack(sizes).sum()
            summands.append(parts["l1-penalty"])
        prefix = f"{self._turn.name} " if self._turn.name else ""
        total = summands[0] if len(summands) == 1 else torch.stack(summands).sum()
        return total, {f"{prefix}{part}": value for part, value in parts.items()}

    def pull(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of this turn's parameters, and to no others."""
        learning = [one for one in self._turn.parameters if one.requires_grad]
        self._scaler.scale(loss).backward(inputs=learning)  # type: ignore[no-untyped-call]

    def move(self) -> None:
        """Move the weights by the gradients that were added up, and forget these."""
        ranks.sum_gradients(self._turn.parameters)
        if self._wanted.clip is not None:
            self._scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self._turn.parameters, self._wanted.clip)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        self.optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return all state as tensors and plain values."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state that ``state_dict`` returned."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])


def mixed(wanted: OptimiserField, device: torch.device) -> torch.dtype | None:
    """Return what is computed in beside float32; None = nothing.

    A step in bfloat16 takes half the time where a processor has AMX. Where it only has AVX512-BF16
    a step takes longer than in float32, and without that many times as long: nothing is mixed in.
    """
    if not wanted.amp:
        return None
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if has_amx() else None


def _put_channels_last(network: nn.Module) -> None:
    """Lay the weights of two axes out as 16-bit convolutions are fastest with."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of the weights, which follows ``update_parameters``.

    Early on it forgets faster, ``min(decay, (1 + n) / (10 + n))`` after n moves, so that a short
    training does not end in the average of its beginnings. Buffers are copied, not averaged: some
    of them are whole numbers.
    """

    @torch.no_grad()
    def move(average: _Tensors, weights: _Tensors, moves: Tensor | int) -> None:
        done = int(moves)
        torch._foreach_lerp_(average, weights, 1.0 - min(decay, (1 + done) / (10 + done)))

    return AveragedModel(network, multi_avg_fn=move)


def _optimiser(parameters: Sequence[nn.Parameter], wanted: OptimiserField) -> torch.optim.Optimizer:
    rate, decay = wanted.learning_rate, wanted.weight_decay
    match wanted.name:
        case "sgd":
            return torch.optim.SGD(
                parameters,
                lr=rate,
                momentum=wanted.momentum,
                nesterov=wanted.momentum > 0,
                weight_decay=decay,
            )
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def _main_schedule(
    optimiser: torch.optim.Optimizer, wanted: OptimiserField, epochs: int
) -> lr_scheduler.LRScheduler:
    match wanted.schedule:
        case "constant":
            return lr_scheduler.ConstantLR(optimiser, factor=1.0, total_iters=0)
        case "cosine":
            end = wanted.learning_rate * _COSINE_END
            return lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs, eta_min=end)
        case "step":
            drop = wanted.drop
            return lr_scheduler.StepLR(optimiser, step_size=drop.epochs, gamma=drop.factor)
        case "plateau":
            # by the same rule as early stopping: better is any higher score
            return lr_scheduler.ReduceLROnPlateau(
                optimiser,
                mode="max",
                factor=wanted.drop.factor,
                patience=wanted.drop.epochs - 1,
                threshold=0.0,
            )
