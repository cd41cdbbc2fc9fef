"""The smaller form of the bench: whether what is learnt from real images is worth anything at all.

Three epochs on a part of the chest radiographs that ``few_labels`` is about. A network that learns
nothing says 0.5.
"""

from __future__ import annotations

from bench.quality.few_labels import Few
from bench.quality.plan import Must, Task

TASKS = (
    Task(
        name="small",
        recipe="small.yaml",
        manifest=Few(800),
        needs="cls_pneumoniamnist",
        musts=(Must(metric="labels.pneumonia.auc", least=0.9),),
        shown=("accuracy",),
        is_small=True,
    ),
)
