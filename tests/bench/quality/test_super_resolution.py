"""Super-resolution of one head: slices that are judged lie apart from those that are learnt."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from bench.quality import super_resolution


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """Return a folder of 48 slices whose pixels say how high they lie, in names out of order."""
    folder = tmp_path / "head"
    folder.mkdir()
    for number, height in enumerate(np.random.default_rng(0).permutation(48)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            MRImageStorage,
            generate_uid(),
        )
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = pydicom.Dataset()
        one.file_meta = meta
        one.ImagePositionPatient = [0, 0, 0.7 * int(height) - 20]
        one.set_pixel_data(np.full((4, 4), height, np.uint8), "MONOCHROME2", 8)
        one.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def test_parts_lie_apart(head: Path, tmp_path: Path) -> None:
    path = super_resolution.manifest(head, tmp_path)
    with path.open() as table:
        rows = list(csv.DictReader(table))
    heights = {
        row["split"]: [int(plane[0, 0]) for plane in np.load(tmp_path / row["image"])]
        for row in rows
    }
    assert heights.keys() == {"train", "validation", "test"}
    for part, found in heights.items():
        assert found == sorted(found)
        others = [n for other in heights if other != part for n in heights[other]]
        assert min(abs(a - b) for a in found for b in others) > 2
    assert len({row["patient_id"] for row in rows}) == 3
