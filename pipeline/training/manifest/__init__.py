"""The manifest: the list of cases a training learns from and is measured on.

A CSV file or a MONAI datalist (JSON); ``rows`` says what stands in it. It is read as a whole:
every fault is listed by row before anything trains. Its frozen, hashed form is the snapshot.
"""

from pipeline.training.manifest.cases import (
    Case,
    Part,
    Snapshot,
    Value,
    changed,
    content_digest,
    file_digest,
    snapshot_of,
)
from pipeline.training.manifest.freezing import IMAGE_SUFFIXES, Looked, freeze, look
from pipeline.training.manifest.parts import assign
from pipeline.training.manifest.rows import PARTS

__all__ = [
    "IMAGE_SUFFIXES",
    "PARTS",
    "Case",
    "Looked",
    "Part",
    "Snapshot",
    "Value",
    "assign",
    "changed",
    "content_digest",
    "file_digest",
    "freeze",
    "look",
    "snapshot_of",
]
