"""How answers for each voxel are learnt: segmentations and restorations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from pipeline.training.fields.base import Strict

if TYPE_CHECKING:
    from pipeline.training.recipe import Recipe


#: the arguments by which networks answer at so many depths beside their last
AT_DEPTHS: Final[Mapping[str, Callable[[int], Mapping[str, Any]]]] = {
    "DynUNet": lambda depths: {"deep_supervision": True, "deep_supr_num": depths},
    "SegResNetDS": lambda depths: {"dsdepth": depths + 1},
}


class FeaturesField(Strict):
    """A loss over what a network that does not learn sees in both images.

    Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV
    2016. Its weights are drawn once from the seed of the recipe, which is enough for edges and
    textures of all sizes to count.
    """

    #: of the table, one that answers for whole images; it is told axes and channels by the recipe
    network: str = "torchvision.resnet18"
    arguments: dict[str, Any] = Field(default_factory=dict)
    #: names of its modules; how far their answers lie apart counts, each module as much
    layers: tuple[str, ...] = Field(default=("relu", "layer1", "layer2"), min_length=1)
    #: beside the loss over pixels, which counts 1
    weight: float = Field(default=0.1, gt=0, le=1000)


class CriticField(Strict):
    """A second network that learns to tell answers from images as they should be.

    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
    Network", CVPR 2017; it looks at patches (Isola et al., CVPR 2017) and learns by least squares
    (Mao et al., ICCV 2017).
    """

    #: feature maps of its first layer; each further layer has twice as many
    features: int = Field(default=32, ge=1, le=512)
    layers: int = Field(default=2, ge=1, le=5)
    #: of being told from a true image, beside the loss over pixels, which counts 1
    weight: float = Field(default=0.01, gt=0, le=1000)

    @property
    def least_side(self) -> int:
        """Voxels along each axis of the smallest image that it has an answer for."""
        return 3 * (1 << self.layers)


def faults(recipe: Recipe) -> Iterator[str]:
    """Say what of a recipe does not go together with how voxels are learnt."""
    if recipe.kind != "segmentation" and (recipe.deep_supervision or recipe.balanced):
        yield "deep_supervision and balanced belong to a segmentation"
    elif recipe.deep_supervision:
        yield from _shallow(recipe)
    if recipe.degradation is None:
        if recipe.features is not None or recipe.critic is not None:
            yield "features and critic belong to a restoration"
    elif recipe.critic is not None:
        least = recipe.critic.least_side
        if min(recipe.input.size) * recipe.degradation.downsample < least:
            yield f"a critic of {recipe.critic.layers} layers looks at {least} voxels at a time"


def _shallow(recipe: Recipe) -> Iterator[str]:
    """Say why the network of a recipe cannot answer at several depths."""
    name, arguments = recipe.network.name, recipe.network.arguments
    if name not in AT_DEPTHS:
        yield f"only {' and '.join(sorted(AT_DEPTHS))} answer at several depths, {name} does not"
        return
    for argument in sorted(AT_DEPTHS[name](1).keys() & arguments.keys()):
        yield f"{argument} of the network is decided by deep_supervision of the recipe"
