"""Statistics of objects that a segmentation tells apart, matched by the IoU of their masks.

Average precision is that of detections, pooled over cases (``pipeline.evaluation.detection``). The
share of objects that were found is counted in each case: hits over hits, misses and false alarms,
and its mean over IoU 0.5 to 0.95 is the score of the Data Science Bowl 2018 (Caicedo et al.,
"Nucleus segmentation across imaging experiments", Nature Methods 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.evaluation import matching
from pipeline.evaluation.detection import COCO_IOUS, precision_at
from pipeline.evaluation.scores import Boxes, Scores
from pipeline.evaluation.statistic import Statistic, mean


def statistics(scores: Scores) -> Iterator[Statistic]:
    """Yield the statistics of the objects of each label."""
    for number, label in enumerate(scores.labels):
        objects = [case.objects[number] for case in scores.cases]
        has = np.array([case.truths > 0 for case in objects], bool)
        for name, ious in (("50", (0.5,)), ("50_95", COCO_IOUS)):
            yield Statistic(
                name=f"object_ap_{name}",
                label=label,
                bearing=has,
                of=precision_at(objects, *ious),
            )
            found = [share_found(one, ious) for one in objects]
            yield mean(f"objects_found_{name}", found, label=label)


def share_found(objects: Boxes, ious: Sequence[float]) -> float | None:
    """Return hits over hits, misses and false alarms, the mean over some least overlaps.

    None where nothing is true and nothing was found.
    """
    if not objects.truths and not objects.scores:
        return None
    hits = np.array([matching.hits(objects, least).sum() for least in ious], float)
    return float(np.mean(hits / (objects.truths + len(objects.scores) - hits)))
