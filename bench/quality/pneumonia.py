"""Pneumonia on chest radiographs of children, by an automatic recipe (PneumoniaMNIST, CC BY 4.0).

The set names no patients: of images that look alike one is kept. Its training part is learnt from
and chosen by; its validation part is held out.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.quality.few_labels import Few
from bench.quality.plan import Must, Task

#: labelled images, more than there are
_ALL = 100_000

TASKS: Sequence[Task] = (
    Task(
        name="pneumonia",
        recipe="pneumonia.yaml",
        manifest=Few(labelled=_ALL),
        needs="cls_pneumoniamnist",
        minutes=7,
        musts=(
            Must(metric="labels.pneumonia.auc", least=0.96),
            Must(metric="accuracy", least=0.88),
        ),
        shown=("balanced_accuracy", "calibration_error"),
    ),
)
