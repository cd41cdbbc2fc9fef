"""More images for the training part, made by a generator that learns from it alone.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks" (DCGAN), ICLR 2016, with the class among what an image is made from and a
logit of the judge for each class (as in Mirza and Osindero, "Conditional Generative Adversarial
Nets", 2014). Frid-Adar et al., Neurocomputing 2018, augmented medical images so.

Made images belong to no patient. They are trained on and nothing else: neither the validation part
nor the held-out one ever holds one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.adversarial import NON_SATURATING, Discriminator, Generator
from pipeline.training import data, ranks
from pipeline.training.data import Prepared
from pipeline.training.fields import GeneratedField, OptimiserField
from pipeline.training.fields.variants import halvings
from pipeline.training.pretraining import TrainPhase
from pipeline.training.recipe import Recipe
from pipeline.training.task import Turn
from pipeline.training.views import Chosen, Views

NAME: Final = "generating"
_SAMPLED_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Shape:
    """What generator and judge are built for."""

    channels: int
    size: Sequence[int]
    classes: int


class Conditional(nn.Module):
    """A generator of images of a class, and a judge of whether one of that class is real."""

    def __init__(self, shape: Shape, wanted: GeneratedField) -> None:
        super().__init__()
        widths = [wanted.features * 2**step for step in range(halvings(shape.size))]
        dims = len(shape.size)
        self.generator = Generator(
            spatial_dims=dims,
            in_channels=wanted.latent + shape.classes,
            out_channels=shape.channels,
            size=shape.size,
            features=widths[::-1],
        )
        self.judge = Discriminator(
            spatial_dims=dims,
            in_channels=shape.channels,
            out_channels=shape.classes,
            size=shape.size,
            features=widths,
        )
        self._classes = shape.classes

    def forward(self, latent: Tensor, classes: Tensor) -> Tensor:
        """Make images (B, channels, *size) of latent values (B, latent) and classes (B,)."""
        images: Tensor = self.generator(
            torch.cat([latent, functional.one_hot(classes, self._classes).to(latent)], dim=1)
        )
        return images

    def judged(self, images: Tensor, classes: Tensor) -> Tensor:
        """Return a logit of each image: above 0 for what seems a real one of its class."""
        logits: Tensor = self.judge(images)
        return logits.gather(1, classes[:, None])


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A task that takes turns: the judge learns, then the generator."""

    wanted: GeneratedField
    #: of the training part, as they are
    views: Views

    def network(self) -> nn.Module:
        """Return generator and judge with fresh weights."""
        stated = self.views.recipe
        shape = Shape(stated.input.channels, stated.input.size, len(stated.labels))
        return Conditional(shape, self.wanted)

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        return len(self.views.in_batches(epoch, self.wanted.batch))

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield images (B, channels, *size), their classes (B,) and latent values (B, latent)."""
        every = self.views.in_batches(epoch, self.wanted.batch)
        for place, chosen in list(enumerate(every))[first:]:
            random = self.views.random(epoch, place)
            images = self.views.single(chosen, random)
            latent = _latent(len(images), self.wanted.latent, random)
            yield images, self._classes(chosen).to(images.device), latent.to(images.device)

    def turns(self, network: nn.Module) -> Sequence[Turn]:
        """Return the judge's turn and the generator's."""
        both = _conditional(network)
        return (
            Turn(
                name="judge",
                parameters=[*both.judge.parameters()],
                loss=lambda _, batch: _judge_loss(both, batch),
            ),
            Turn(
                name="generator",
                parameters=[*both.generator.parameters()],
                loss=lambda _, batch: _generator_loss(both, batch),
            ),
        )

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the generator's loss."""
        return _generator_loss(_conditional(network), batch)

    def score(self, network: nn.Module) -> None:
        """Say nothing of the validation part: the last epoch stands."""
        del network

    def _classes(self, chosen: Chosen) -> Tensor:
        places = [self.views.places[number] for number in ranks.share(chosen.tolist())]
        return torch.tensor([int(data.load(place)["class"]) for place in places])


def extended(
    prepared: Prepared, wanted: GeneratedField, views: Views, folder: Path, train: TrainPhase
) -> Prepared:
    """Train the generator, and return the cases with so many made ones in the training part.

    Args:
        prepared: the cases as they are.
        wanted: how many of each class, and how the generator learns.
        views: of the training part.
        folder: where made images are kept, as prepared cases are.
        train: trains a phase.

    """
    generation = Generation(wanted=wanted, views=views)
    weights = train(NAME, generation, phase_recipe(views.recipe, wanted))
    network = _conditional(generation.network())
    network.load_state_dict(dict(weights))
    network.eval().to(views.device)
    made = [
        place
        for label in views.recipe.labels
        for place in _made(network, label.number, generation, folder)
    ]
    return replace(prepared, training=(*prepared.training, *made))


def phase_recipe(recipe: Recipe, wanted: GeneratedField) -> Recipe:
    """Return what the loop trains generator and judge by."""
    return recipe.model_copy(
        update={
            "epochs": wanted.epochs,
            "batch": wanted.batch,
            "optimiser": OptimiserField(
                learning_rate=wanted.learning_rate, weight_decay=0, schedule="constant", clip=None
            ),
            "early_stopping": None,
        }
    )


def _made(
    network: Conditional, number: int, generation: Generation, folder: Path
) -> Iterator[Path]:
    """Make and keep the images of one class."""
    wanted, views = generation.wanted, generation.views
    random = np.random.default_rng((views.recipe.seed, number))
    latent = _latent(wanted.per_class, wanted.latent, random)
    for first in range(0, wanted.per_class, _SAMPLED_AT_ONCE):
        some = latent[first : first + _SAMPLED_AT_ONCE].to(views.device)
        classes = torch.full((len(some),), number, device=views.device)
        with torch.inference_mode():
            images = network(some, classes).cpu().numpy()
        for place, image in enumerate(images, first):
            yield _kept(folder / f"{number}-{place}", image, number)


def _kept(place: Path, image: NDArray[np.float32], number: int) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, values in (("image", image), ("class", np.asarray(number, np.int64))):
        # other processes of this training write the same, and may read it already
        partial = place / f"{name}.{ranks.number()}.partial"
        with partial.open("wb") as file:
            np.save(file, values)
        partial.replace(place / f"{name}.npy")
    return place


def _latent(count: int, values: int, random: np.random.Generator) -> Tensor:
    return torch.from_numpy(random.standard_normal((count, values), np.float32))


def _judge_loss(both: Conditional, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    images, classes, latent = batch
    with torch.no_grad():
        made = both(latent, classes)
    return NON_SATURATING.discriminator(both.judged(images, classes), both.judged(made, classes))


def _generator_loss(both: Conditional, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    _, classes, latent = batch
    return NON_SATURATING.generator(both.judged(both(latent, classes), classes))


def _conditional(network: nn.Module) -> Conditional:
    if not isinstance(network, Conditional):
        message = "images are made by a generator and its judge"
        raise TypeError(message)
    return network
