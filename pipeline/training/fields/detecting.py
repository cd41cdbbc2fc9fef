"""What recipes of detectors state: the losses that belong to each network, and their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

if TYPE_CHECKING:
    from pipeline.training.recipe import Recipe

#: what one of a detector's losses counts in their sum, by its name; 1 where nothing is said
LossWeights = Mapping[str, Annotated[float, Field(ge=0, le=1000)]]

_RETINANET: Final = frozenset({"classification", "box_regression"})
_RCNN: Final = frozenset({"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"})
#: by network and loss, the names of what is summed
_SUMMED: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    # some of the negatives that look most like boxes, or all of them by the focal loss
    ("RetinaNet", "retinanet"): _RETINANET,
    ("RetinaNet", "focal"): _RETINANET,
    ("torchvision.retinanet", "focal"): frozenset({"classification", "bbox_regression"}),
    ("torchvision.faster_rcnn", "faster-rcnn"): _RCNN,
    ("torchvision.mask_rcnn", "mask-rcnn"): _RCNN | {"loss_mask"},
}
DETECTORS: Final = frozenset(name for name, _ in _SUMMED)


def faults(recipe: Recipe) -> Iterator[str]:
    """Say what of a recipe does not fit the detector that it trains."""
    name = recipe.network.name
    if recipe.kind != "detection" and name not in DETECTORS:
        if recipe.loss_weights or recipe.loss == "mask-rcnn":
            yield "the loss mask-rcnn and loss_weights belong to detectors"
        yield from _object_faults(recipe)
        return
    fitting = [loss for network, loss in _SUMMED if network == name]
    if not fitting:
        known = sorted(network for network in DETECTORS if network != "torchvision.mask_rcnn")
        yield f"a detection is trained with one of the networks {', '.join(known)}"
        return
    if recipe.loss not in fitting:
        yield f"{name} is trained with the loss {' or '.join(fitting)}"
        return
    summed = _SUMMED[name, recipe.loss]
    if unknown := sorted(set(recipe.loss_weights) - summed):
        yield f"{name} has no loss {', '.join(unknown)}; it has {', '.join(sorted(summed))}"
    yield from _object_faults(recipe)
    if recipe.kind == "detection" and recipe.augmentation.elastic:
        yield "boxes do not bend: a detection has no augmentation.elastic"


def _object_faults(recipe: Recipe) -> Iterator[str]:
    """Say what does not fit maps of objects, whose numbers say nothing of their labels."""
    if recipe.tells_objects_apart and len(recipe.judged_labels) != 1:
        yield "options.instances: objects are learnt of one label, beside the border between them"
