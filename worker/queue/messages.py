"""The words that travel through the broker: task names and queues. Arguments are ids only."""

from __future__ import annotations

from typing import Final

SCAN_BATCH: Final = "scan.batch"
RUN_JOB: Final = "infer.job"
RUN_TRAINING: Final = "train.run"
UPKEEP_TICK: Final = "upkeep.tick"

SCAN: Final = "scan"
UPKEEP: Final = "upkeep"
TRAIN: Final = "train"
INFER_STAT: Final = "infer.stat"
INFER_URGENT: Final = "infer.urgent"
INFER_ROUTINE: Final = "infer.routine"
INFER_QUEUES: Final = (INFER_STAT, INFER_URGENT, INFER_ROUTINE)
