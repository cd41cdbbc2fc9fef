"""Names around the computation, known but never built: they read, write, loop or report.

Who runs a bundle puts something of its own in their place, and does not ask for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

_READS = "reads files"
_WRITES = "writes files"
_LOOPS = "loops over a data set"
_WATCHES = "listens to a loop"

#: packages, and by module the names and what each of them does
PACKAGES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "monai.transforms": {
        "io.array": ("LoadImage SaveImage WriteFileMapping", "reads or writes files"),
        "io.dictionary": ("LoadImaged SaveImaged WriteFileMappingd", "reads or writes files"),
        "post.dictionary": ("SaveClassificationd", _WRITES),
        "utility.array": ("DataStats SimulateDelay", "computes nothing"),
        "utility.dictionary": ("DataStatsd SimulateDelayd", "computes nothing"),
    },
    "torch": {"serialization": ("load", _READS)},
    "monai.data": {
        "dataset": (
            "Dataset CacheDataset PersistentDataset SmartCacheDataset CSVDataset ArrayDataset",
            _READS,
        ),
        "iterable_dataset": ("IterableDataset ShuffleBuffer CSVIterableDataset", _READS),
        "wsi_datasets": ("PatchWSIDataset MaskedPatchWSIDataset SlidingPatchWSIDataset", _READS),
        "dataloader": ("DataLoader", _LOOPS),
        "thread_buffer": ("ThreadDataLoader", _LOOPS),
        "image_reader": (
            "ImageReader ITKReader NibabelReader NumpyReader PILReader PydicomReader NrrdReader",
            _READS,
        ),
        "image_writer": ("ImageWriter ITKWriter NibabelWriter PILWriter", _WRITES),
    },
    "monai.engines": {
        "evaluator": ("SupervisedEvaluator EnsembleEvaluator Evaluator", _LOOPS),
        "trainer": ("SupervisedTrainer GanTrainer Trainer", _LOOPS),
    },
    "monai.handlers": {
        "checkpoint_loader": ("CheckpointLoader", _READS),
        "checkpoint_saver": ("CheckpointSaver", _WRITES),
        "classification_saver": ("ClassificationSaver", _WRITES),
        "confusion_matrix": ("ConfusionMatrix", _WATCHES),
        "mean_dice": ("MeanDice", _WATCHES),
        "metrics_saver": ("MetricsSaver", _WRITES),
        "probability_maps": ("ProbMapProducer", _WATCHES),
        "stats_handler": ("StatsHandler", _WATCHES),
        "tensorboard_handlers": ("TensorBoardStatsHandler TensorBoardImageHandler", _WATCHES),
        "validation_handler": ("ValidationHandler", _WATCHES),
    },
}
