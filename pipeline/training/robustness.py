"""Held-out cases once more, each changed within bounds so that the model errs.

The attack knows the network and the truth (white box, untargeted) and raises the cross-entropy; see
``pipeline.training.attacks``. Inputs are changed, and answers compared, on the grid that the
network sees: how reading and resampling would change an attack is not part of the question. With a
bound of 0 nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.evaluation.scores import Attacked, Classified, Overlap, Scores
from pipeline.models import sliding
from pipeline.models.planes import PlaneWise
from pipeline.models.predictor import Checkpoint
from pipeline.training import attacks, classification, data, patches, segmentation
from pipeline.training.fields import RobustnessField
from pipeline.training.manifest import Case
from pipeline.training.recipe import Recipe

#: images that are attacked at a time
_TOGETHER: Final = 32


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Attacks one model, as a recipe asks for that states ``evaluation.robustness``."""

    recipe: Recipe
    network: nn.Module
    device: torch.device

    def measured(self, scores: Scores, cases: Sequence[Case], *, checkpoint: Checkpoint) -> Scores:
        """Return the scores of these cases with those under attack.

        Raises:
            StudyRejected: an image cannot be read any more.
            Interrupted: by ``checkpoint``, called before each case or group of them.

        """
        is_whole = self.recipe.kind == "classification"
        judge = self._classified if is_whole else self._segmented
        found: list[tuple[Attacked, ...]] = []
        attacks.use(self.network.to(self.device).requires_grad_(requires_grad=False))
        for group in _grouped(cases, _TOGETHER if is_whole else 1):
            checkpoint()
            arrays = [self._arrays(case) for case in group]
            by_strength = [judge(arrays, epsilon) for epsilon in self._wanted.epsilons]
            found += zip(*by_strength, strict=True)
        judged = [
            one.model_copy(update={"attacked": attacked})
            for one, attacked in zip(scores.cases, found, strict=True)
        ]
        return scores.model_copy(update={"cases": tuple(judged), "attack": self._wanted.method})

    @property
    def _wanted(self) -> RobustnessField:
        wanted = self.recipe.evaluation.robustness
        if wanted is None:
            message = "the recipe asks for no robustness"
            raise ValueError(message)
        return wanted

    def _arrays(self, case: Case) -> Mapping[str, NDArray[Any]]:
        is_whole = self.recipe.kind == "classification"
        preparation = classification.preparation if is_whole else segmentation.preparation
        image = data.read_case(case, self.recipe)
        return preparation(self.recipe)(image, data.read_truth(case, self.recipe, image))

    def _attack(self, network: nn.Module, images: Tensor, truth: Tensor, epsilon: float) -> Tensor:
        random = torch.Generator().manual_seed(self.recipe.seed)

        def loss(seen: Tensor) -> Tensor:
            return functional.cross_entropy(network(seen), truth)

        return attacks.attacked(images, loss, self._wanted, epsilon, random)

    def _classified(
        self, cases: Sequence[Mapping[str, NDArray[Any]]], epsilon: float
    ) -> list[Attacked]:
        images = torch.stack([torch.from_numpy(np.array(one["image"])) for one in cases])
        truth = torch.tensor([int(one["class"]) for one in cases], device=self.device)
        moved = self._attack(self.network, images.to(self.device), truth, epsilon)
        with torch.inference_mode():
            scores = self.network(moved).softmax(1).clamp(0, 1).cpu()
        return [
            Attacked(
                epsilon=epsilon,
                classified=Classified(truth=int(one["class"]), scores=tuple(row.tolist())),
            )
            for one, row in zip(cases, scores, strict=True)
        ]

    def _segmented(
        self, cases: Sequence[Mapping[str, NDArray[Any]]], epsilon: float
    ) -> list[Attacked]:
        return [
            Attacked(epsilon=epsilon, overlaps=tuple(self._overlaps(one, epsilon))) for one in cases
        ]

    def _overlaps(self, case: Mapping[str, NDArray[Any]], epsilon: float) -> Iterator[Overlap]:
        size = patches.window(self.recipe.input)
        is_flat = self.recipe.input.spatial_dims == 2
        network = PlaneWise(self.network) if is_flat else self.network
        image, inside = sliding.pad(torch.from_numpy(np.array(case["image"])), size)
        mask, _ = sliding.pad(torch.from_numpy(case["mask"].astype(np.int64))[None], size)
        image, mask = image.to(self.device), mask.to(self.device)
        moved = image.clone()
        for window in sliding.lay(image.shape[1:], size, 0.0):
            place = (slice(None), *window)
            moved[place] = self._attack(network, image[place][None], mask[place], epsilon)[0]
        plan = sliding.Plan(
            size=size, overlap=self.recipe.input.overlap, batch=2, device=self.device
        )
        stitched = sliding.run(network, moved, plan, checkpoint=lambda: None)
        answer = stitched.logits.argmax(0)[inside].cpu().numpy()
        for label in self.recipe.labels:
            yield _overlap(case["mask"] == label.number, answer == label.number)


def _overlap(is_true: NDArray[np.bool_], is_found: NDArray[np.bool_]) -> Overlap:
    true_size, found_size = int(is_true.sum()), int(is_found.sum())
    both = int((is_true & is_found).sum())
    return Overlap(
        true_size=true_size,
        found_size=found_size,
        unit="pixels",
        dice=2 * both / (true_size + found_size) if true_size else None,
    )


def _grouped(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    return (cases[first : first + size] for first in range(0, len(cases), size))
