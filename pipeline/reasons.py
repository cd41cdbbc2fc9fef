"""The reason codes: why a file, series, study or job was not analysed. Stable, lower case, dotted.

``docs/reasons.md`` is the table for readers; a test holds the two together.
"""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Every reason code Nightshift can state. The part before the dot is what was refused."""

    OK = "ok"

    FILE_NOT_DICOM = "file.not_dicom"
    FILE_EMPTY = "file.empty"
    FILE_UNREADABLE = "file.unreadable"
    FILE_NOT_REGULAR = "file.not_regular"
    FILE_TRUNCATED = "file.truncated"
    FILE_BAD_HEADER = "file.bad_header"
    FILE_NO_PIXELS = "file.no_pixels"
    FILE_NOT_IMAGE = "file.not_image"
    FILE_MEDIA_DIRECTORY = "file.media_directory"
    FILE_UID_INVALID = "file.uid_invalid"
    FILE_DUPLICATE = "file.duplicate"
    FILE_TRANSFER_SYNTAX = "file.transfer_syntax"
    FILE_TOO_NESTED = "file.too_nested"
    FILE_MISSING = "file.missing"
    FILE_OUTSIDE = "file.outside"
    FILE_CHANGED = "file.changed"
    FILE_DAMAGED = "file.damaged"
    FILE_TOO_LARGE = "file.too_large"

    SERIES_TOO_FEW_SLICES = "series.too_few_slices"
    SERIES_MISSING_SLICE = "series.missing_slice"
    SERIES_DUPLICATE_POSITION = "series.duplicate_position"
    SERIES_MIXED_ORIENTATION = "series.mixed_orientation"
    SERIES_GANTRY_TILT = "series.gantry_tilt"
    SERIES_GEOMETRY_INVALID = "series.geometry_invalid"
    SERIES_LOCALIZER = "series.localizer"
    SERIES_MOSAIC = "series.mosaic"
    SERIES_PARTIAL_PHASE = "series.partial_phase"
    SERIES_UNSUPPORTED = "series.unsupported"
    SERIES_NO_PLACE = "series.no_place"

    STUDY_MIXED_PATIENTS = "study.mixed_patients"

    PIXELS_RESCALE_NOT_FINITE = "pixels.rescale_not_finite"
    PIXELS_NOT_FINITE = "pixels.not_finite"
    PIXELS_TOO_LARGE = "pixels.too_large"
    PIXELS_LENGTH_MISMATCH = "pixels.length_mismatch"
    PIXELS_SUV_UNAVAILABLE = "pixels.suv_unavailable"
    PIXELS_PALETTE_INVALID = "pixels.palette_invalid"
    PIXELS_UNDECODABLE = "pixels.undecodable"
    PIXELS_UNSUPPORTED = "pixels.unsupported"
    PIXELS_DECODER_DIED = "pixels.decoder_died"
    PIXELS_DECODER_TIMEOUT = "pixels.decoder_timeout"

    SELECTION_NO_SERIES = "selection.no_series"
    SELECTION_NOT_CHOSEN = "selection.not_chosen"
    SELECTION_NO_ANALYSIS = "selection.no_analysis"

    MODEL_INPUT_MISMATCH = "model.input_mismatch"
    MODEL_UNAVAILABLE = "model.unavailable"
    MODEL_EMPTY_MASK = "model.empty_mask"
    MODEL_BUNDLE_REFUSED = "model.bundle_refused"

    SOURCE_MISSING = "source.missing"
    SOURCE_EMPTY = "source.empty"
    SOURCE_NO_DICOM = "source.no_dicom"
    SOURCE_UNREADABLE = "source.unreadable"
    SOURCE_TOO_LARGE = "source.too_large"

    LABEL_INVALID = "label.invalid"
    LABEL_MISMATCH = "label.mismatch"

    DEIDENTIFY_BURNED_IN = "deidentify.burned_in"
    DEIDENTIFY_UNSUPPORTED = "deidentify.unsupported"
    DEIDENTIFY_NOT_IN_MAP = "deidentify.not_in_map"

    RUN_OUT_OF_MEMORY = "run.out_of_memory"
    RUN_DEADLINE = "run.deadline"
    RUN_WORKER_LOST = "run.worker_lost"
    RUN_DISK_FULL = "run.disk_full"
    RUN_ERROR = "run.error"
    RUN_CANCELED = "run.canceled"

    TRAINING_MANIFEST_INVALID = "training.manifest_invalid"
    TRAINING_RECIPE_INVALID = "training.recipe_invalid"
    TRAINING_DIVERGED = "training.diverged"
