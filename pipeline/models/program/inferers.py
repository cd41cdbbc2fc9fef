"""Inferers that bundles bring as code; here they are ours, by the same name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from monai.inferers.inferer import Inferer
from torch import Tensor


class RetinaNetInferer(Inferer):
    """Boxes by a detector: over the whole image, or window by window where it is large.

    MONAI's bundle for lung nodules names it ``scripts.detection_inferer.RetinaNetInferer``. Its
    detector does all the work (``monai.apps.detection.networks.retinanet_detector``).

    Args:
        detector: MONAI's ``RetinaNetDetector``.
        force_sliding_window: use windows for small images too.

    """

    def __init__(self, detector: Any, force_sliding_window: bool = False) -> None:  # noqa: FBT001, FBT002, a bundle writes it so
        super().__init__()
        self.detector = detector
        self._always = force_sliding_window
        size = getattr(detector.inferer, "roi_size", None)
        self._window_voxels = None if size is None else math.prod(size)

    def __call__(
        self, inputs: Any, network: Callable[..., Any], *_: Any, **__: Any
    ) -> list[dict[str, Tensor]]:
        """Return for each image its boxes, their classes and scores, by the detector's keys."""
        self.detector.network = network
        self.detector.eval()
        is_small = self._window_voxels is None or all(
            image[0].numel() < self._window_voxels for image in inputs
        )
        found: list[dict[str, Tensor]] = self.detector(
            inputs, use_inferer=self._always or not is_small
        )
        return found
