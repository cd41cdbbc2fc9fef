"""Real series through our own reader and back: what is written is read equal by highdicom."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.dicom.reading import read as read_series
from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.errors import StudyRejected
from pipeline.volume import Image, Input, Volume
from tests.data import shared
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.segs import PROVENANCE, segment
from tests.pipeline.dicom.writing.validator import errors, needs_dciodvfy


def sources(folder: Path) -> Iterator[Input]:
    """Yield every series that can be read, as a volume where it is one."""
    for study in series.scanned(folder).studies:
        for one in study.series:
            files = series.files_of(folder, one)
            try:
                yield read_series(files, as_image=False)
            except StudyRejected:
                try:
                    yield read_series(files, as_image=True)
                except StudyRejected:
                    continue


def speckled(source: Input) -> NDArray[np.uint8]:
    shape = source.stored.shape if isinstance(source, Volume) else source.pixels.shape[:3]
    label_map = np.random.default_rng(0).choice((0, 1, 2), shape, p=(0.9, 0.05, 0.05))
    label_map[:, :3, :4] = 1
    return label_map.astype(np.uint8)


def read_back(source: Input, data: bytes) -> NDArray[np.uint8]:
    assert source.header is not None
    instances = source.header.instances
    uids = list(dict.fromkeys(one.sop_instance_uid for one in instances))
    seg = hd.seg.segread(io.BytesIO(data))
    how = {
        "combine_segments": True,
        "ignore_spatial_locations": True,
        "assert_missing_frames_are_empty": True,
    }
    if isinstance(source, Image) and instances[0].frames > 1:
        return seg.get_pixels_by_source_frame(uids[0], range(1, instances[0].frames + 1), **how)
    if instances[0].frame is not None:
        return seg.get_pixels_by_source_frame(uids[0], [one.frame for one in instances], **how)
    return seg.get_pixels_by_source_instance(uids, **how)


@pytest.mark.parametrize(
    ("folder", "least"),
    [
        ("ct_chest_lidc0314", 1),
        ("ct_phantom_philips_mixed", 4),
        ("mr_brain_pgbm003", 5),
        ("enhanced_multiframe", 1),
        ("us_mixed_a", 4),
        ("codecs_wg04_a", 4),
    ],
)
def test_the_label_map_of_every_real_series_is_read_back(folder: str, least: int) -> None:
    found = 0
    for source in sources(shared("dicom", folder)):
        found += 1
        label_map = speckled(source)
        for encoding in Encoding:
            data = write_seg(
                source, label_map, [segment(1), segment(2)], PROVENANCE, encoding=encoding
            )
            assert np.array_equal(read_back(source, data), label_map)
    assert found >= least


@needs_dciodvfy
@pytest.mark.parametrize("folder", ["mr_brain_pgbm003", "us_mixed_a", "enhanced_multiframe"])
def test_the_validator_finds_no_error(folder: str, tmp_path: Path) -> None:
    for source in sources(shared("dicom", folder)):
        data = write_seg(source, speckled(source), [segment(1), segment(2)], PROVENANCE)
        assert errors(data, tmp_path) == []
