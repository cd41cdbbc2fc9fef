"""What a segmentation may learn from, by name: MONAI's losses, over logits and masks.

Background is left out of Dice and Tversky, which would be small for it whatever is missed; only
generalised Dice weighs it by its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor

#: of logits (B, background and labels, *spatial) and masks (B, 1, *spatial), the numbers of labels
Measure = Callable[[Tensor, Tensor], Tensor]

#: a voxel that is missed costs more than one that is found in vain: Salehi et al., "Tversky Loss
#: Function for Image Segmentation Using 3D Fully Convolutional Deep Networks", MLMI 2017
_IN_VAIN, _MISSED = 0.3, 0.7
#: how much less what is certain counts: Lin et al., "Focal Loss for Dense Object Detection", 2017
_FOCUS = 2.0


def dice_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Return Dice loss plus cross-entropy."""
    from monai.losses.dice import DiceCELoss

    measure = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=0.0
    )
    loss: Tensor = measure(logits, masks)
    return loss


def dice_focal(logits: Tensor, masks: Tensor) -> Tensor:
    """Return Dice loss plus focal loss over all classes, background too."""
    from monai.losses.dice import DiceLoss
    from monai.losses.focal_loss import FocalLoss

    dice = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=0.0
    )
    focal = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=_FOCUS)
    loss: Tensor = dice(logits, masks) + focal(logits, masks)
    return loss


def generalised_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice loss in which small labels count as much as large ones, and background.

    Sudre et al., "Generalised Dice Overlap as a Deep Learning Loss Function for Highly Unbalanced
    Segmentations", DLMIA 2017.
    """
    from monai.losses.dice import GeneralizedDiceLoss

    measure = GeneralizedDiceLoss(to_onehot_y=True, softmax=True, batch=True)
    loss: Tensor = measure(logits, masks)
    return loss


def tversky(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice loss in which a voxel that is missed counts more than one in vain."""
    from monai.losses.tversky import TverskyLoss

    measure = TverskyLoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        batch=True,
        alpha=_IN_VAIN,
        beta=_MISSED,
    )
    loss: Tensor = measure(logits, masks)
    return loss


LOSSES: Final[Mapping[str, Measure]] = {
    "dice-cross-entropy": dice_cross_entropy,
    "dice-focal": dice_focal,
    "generalised-dice": generalised_dice,
    "tversky": tversky,
}
