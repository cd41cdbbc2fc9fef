"""Training a restoration: patches made worse, and what they were before as the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.evaluation import fidelity
from pipeline.evaluation.scores import Restored
from pipeline.models import networks, planes, sliding
from pipeline.models.planes import PlaneWise
from pipeline.models.predictor import Checkpoint, Predictor
from pipeline.models.restoration import Residual
from pipeline.networks.super_resolution import SuperResolution
from pipeline.training import augmentation, data, degradation, patches, restoration_losses
from pipeline.training.checkpoint import Weights
from pipeline.training.data import Draw, Prepared
from pipeline.training.degradation import Values
from pipeline.training.fields import DegradationField
from pipeline.training.manifest import Case
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.training.restoration_losses import Features, Judged
from pipeline.training.task import Turn
from pipeline.volume import Input

#: what is no brighter, of 0 to 1, shows nothing; so many voxels are looked at for one that does
_AIR: Final = 0.05
_TRIES: Final = 64


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """What a restoration adds to the training loop."""

    recipe: Recipe
    prepared: Prepared
    device: torch.device

    def network(self) -> nn.Module:
        """Return the network with fresh weights, and its critic beside it where there is one."""
        built = networks.build(self.recipe.network.name, self.recipe.network.arguments)
        if self._is_residual and isinstance(built, SuperResolution):
            built.begin_with_nothing()
        _ = self._features  # what cannot be built is refused now, not at the first batch
        wanted = self.recipe.critic
        if wanted is None:
            return built
        return restoration_losses.Judged(
            built, restoration_losses.critic(wanted, self.recipe.input)
        )

    def turns(self, network: nn.Module) -> Sequence[Turn]:
        """Let all learn at once; or first who restores, then the critic."""
        if not isinstance(network, Judged):
            return [Turn(parameters=[*network.parameters()], loss=self.loss)]
        return [
            Turn(name="restoring", parameters=[*network.restoring.parameters()], loss=self.loss),
            Turn(name="critic", parameters=[*network.critic.parameters()], loss=self._critic_loss),
        ]

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        del epoch
        return data.batch_count(self.recipe, self.prepared.training)

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images made worse (B, channels, *size) and as they were, finer by the scale."""
        drawn = data.draws(self.recipe, self.prepared.training, epoch)
        for batch in data.in_batches(drawn, self.recipe.batch, first):
            worse, wanted = zip(*(self._patch(draw) for draw in batch), strict=True)
            yield torch.stack(worse).to(self.device), torch.stack(wanted).to(self.device)

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        """Return the loss over pixels, and what the recipe adds to it."""
        worse, wanted = batch
        found = self._answering(network)(worse)
        losses = {"pixels": restoration_losses.PIXELS[self.recipe.loss](found, wanted)}
        if self._features is not None and self.recipe.features is not None:
            apart = self._features.distance(found, wanted)
            losses["features"] = self.recipe.features.weight * apart
        if isinstance(network, Judged) and self.recipe.critic is not None:
            told = restoration_losses.is_told(network.critic, found)
            losses["told"] = self.recipe.critic.weight * told
        return losses

    def _critic_loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        worse, wanted = batch
        if not isinstance(network, Judged):
            raise TypeError("only a network that is judged has a critic")
        with torch.no_grad():
            found = self._answering(network)(worse)
        return restoration_losses.is_fooled(network.critic, found, wanted)

    @cached_property
    def _features(self) -> Features | None:
        if self.recipe.features is None:
            return None
        return Features(self.recipe.features, self.recipe.input, self.recipe.seed)

    def score(self, network: nn.Module) -> float | None:
        """Return the mean PSNR (dB) on the validation part, each time made worse alike."""
        if not self.prepared.validation:
            return None
        found = []
        for number, place in enumerate(self.prepared.validation):
            random = np.random.default_rng((self.recipe.seed, 2, number))
            wanted = degradation.whole(np.array(data.load(place)["image"]), self._factors)
            worse = degradation.degrade(wanted, self._degradation, self._factors, random)
            found.append(fidelity.psnr(self._predict(network, worse), wanted))
        return float(np.mean(found))

    @property
    def _degradation(self) -> DegradationField:
        if self.recipe.degradation is None:
            raise ValueError("the recipe makes no image worse")
        return self.recipe.degradation

    @property
    def _factors(self) -> tuple[int, int, int]:
        return degradation.factors(self.recipe)

    @property
    def _is_residual(self) -> bool:
        return bool(self.recipe.options.get("residual"))

    def _answering(self, network: nn.Module) -> nn.Module:
        """Return what answers with an image: the predictor's own way from network to answer."""
        if not self._is_residual:
            return network
        return Residual(network, self._degradation.downsample, self._planes // 2)

    def _predict(self, network: nn.Module, worse: Values) -> Values:
        is_flat = self.recipe.input.spatial_dims == 2
        answering = self._answering(network)
        plan = sliding.Plan(
            size=patches.window(self.recipe.input),
            overlap=self.recipe.input.overlap,
            batch=4,
            device=self.device,
        )
        tiled = planes.tile(
            PlaneWise(answering) if is_flat else answering,
            torch.from_numpy(worse).to(self.device),
            plan,
            scale=self._factors,
            checkpoint=lambda: None,
            beside=self._planes // 2,
        )
        answer: Values = tiled.values.clamp(0, 1).numpy()
        return answer

    def _patch(self, draw: Draw) -> tuple[Tensor, Tensor]:
        image, random = data.load(self.prepared.training[draw.case])["image"], draw.random
        window = patches.window(self.recipe.input)
        size = [n * times for n, times in zip(window, self._factors, strict=True)]
        start = data.patch_start(image.shape[1:], size, self._centre(image, random), random)
        pose = patches.pose(self.recipe, random)
        dims = self.recipe.input.spatial_dims
        warp = augmentation.warp(size[-dims:], self.recipe.augmentation, random)
        if dims == 2:
            plane, reach = start[0], self._planes // 2
            image = image[:, planes.reaching(plane, plane + 1, reach, image.shape[1])]
            start, size[0] = (0, *start[1:]), self._planes
            if reach and random.random() < self.recipe.augmentation.flip:
                image = image[:, ::-1]  # what lies beside it is as good from either side
        patch = pose.of(patches.cut(image, start, size, warp))
        if warp is not None:
            patch = warp.image(patch)
        wanted = augmentation.vary(patch, self.recipe.augmentation, random).clamp(0, 1)
        worse = degradation.degrade(wanted.numpy(), self._degradation, self._factors, random)
        if dims == 3:
            return torch.from_numpy(worse), wanted
        return torch.from_numpy(worse).flatten(0, 1), wanted[:, self._planes // 2]

    def _centre(self, image: NDArray[np.float32], random: np.random.Generator) -> list[int] | None:
        """Return a voxel that shows something, None for anywhere: air has little to teach."""
        if random.random() >= self.recipe.foreground:
            return None
        tried = random.integers(image.shape[1:], size=(_TRIES, image.ndim - 1))
        found = np.flatnonzero(image[:, *tried.T].max(axis=0) > _AIR)
        return [int(at) for at in tried[found[0]]] if len(found) else None

    @property
    def _planes(self) -> int:
        """How many planes a network of two axes is shown: one, and those beside it."""
        return 2 * int(self.recipe.options.get("beside", 0)) + 1


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns an image into an array on the network's grid; it is its own truth."""
    spec = recipe.spec("0").input

    def arrays(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        del truth
        return {"image": patches.prepared(image, spec)[0].numpy()}

    return arrays


def bundle_weights(recipe: Recipe, weights: Weights) -> Weights:
    """Return the weights of the network that restores, without its critic's."""
    if recipe.critic is None:
        return weights
    prefix = "restoring."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }


def trial(case: Case, recipe: Recipe) -> degradation.Trial:
    """Make a held-out case worse, the same however often it is asked.

    Raises:
        StudyRejected: the image cannot be read.

    """
    random = np.random.default_rng((recipe.seed, 3, int(case.image_digest[:16], 16)))
    return degradation.trial(data.read_image(case, recipe), recipe, random)


def judge(case: Case, recipe: Recipe, predictor: Predictor, *, checkpoint: Checkpoint) -> Restored:
    """Make a held-out case worse, let the model restore it, and compare both with what it was.

    Raises:
        StudyRejected: the image cannot be read.
        Interrupted: by ``checkpoint``.

    """
    held = trial(case, recipe)
    (answer,) = predictor.predict(held.shown, checkpoint=checkpoint).derived
    dims = recipe.input.spatial_dims
    return Restored(
        answer=fidelity.compare(held.scaled(answer.values), held.reference, dims),
        baseline=fidelity.compare(held.baseline, held.reference, dims),
    )
