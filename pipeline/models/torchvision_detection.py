"""torchvision's detectors asked as MONAI's are: windows in, boxes along rows and columns out."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet

from pipeline.models.options import DetectionOptions


class Detector:
    """One of torchvision's detectors with the thresholds of a bundle."""

    def __init__(self, network: nn.Module, options: DetectionOptions) -> None:
        self._network = network
        #: torchvision's R-CNNs keep 0 for the background
        self._first = 1 if isinstance(network, FasterRCNN) else 0
        set_thresholds(network, options)

    def __call__(self, pixels: Tensor) -> list[dict[str, Tensor]]:
        """Return the boxes of each window.

        Args:
            pixels: (windows, channels, rows, columns), 0 to 1.

        Returns:
            For each window ``boxes`` (n, 4), the first row and column, then the last ones, in
            edges of pixels; ``labels`` (n,) from 0, and ``labels_scores`` (n,).

        """
        return [
            {
                "boxes": found["boxes"][:, [1, 0, 3, 2]],
                "labels": found["labels"] - self._first,
                "labels_scores": found["scores"],
            }
            for found in self._network(list(pixels))
        ]


def is_one(network: nn.Module) -> bool:
    """Whether a network is a detector of torchvision's."""
    return isinstance(network, FasterRCNN | RetinaNet)


def set_thresholds(network: nn.Module, options: DetectionOptions) -> None:
    """Let a detector of torchvision's answer with the boxes that a bundle asks for."""
    # what is chosen lies in the second stage of those that have two
    chooses: Any = network.roi_heads if isinstance(network, FasterRCNN) else network
    chooses.score_thresh = options.score_threshold
    chooses.nms_thresh = options.nms_iou
    chooses.detections_per_img = options.maximum
