"""Segmentations of files that scanners wrote: pydicom's own test files."""

from __future__ import annotations

import io
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from pipeline.dicom.writing.seg import Encoding, write_seg
from pipeline.volume import Image
from tests.pipeline.dicom.segs import PROVENANCE, header_of, read, segment
from tests.pipeline.dicom.writing.validator import needs_dciodvfy, remarks

#: classic CT and MR, identity removed by no stated method, a colour loop, a film, no study date
NAMES = [
    "CT_small.dcm",
    "MR_small.dcm",
    "693_J2KI.dcm",
    "examples_ybr_color.dcm",
    "RG1_J2KI.dcm",
    "SC_rgb.dcm",
]


def written(name: str, encoding: Encoding) -> tuple[bytes, Image, np.ndarray]:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} is not in the installed pydicom")
    header = header_of([Path(str(path))])
    first = read(header.template)
    shape = (header.instances[0].frames, int(first.Rows), int(first.Columns))
    label_map = np.zeros(shape, np.uint8)
    label_map[:, 3:9, 2:5] = 1
    image = Image(pixels=np.zeros(shape, np.float32), header=header)
    return (
        write_seg(image, label_map, [segment(1)], PROVENANCE, encoding=encoding),
        image,
        label_map,
    )


@needs_dciodvfy
@pytest.mark.parametrize("name", NAMES)
def test_the_validator_finds_no_error(name: str, tmp_path: Path) -> None:
    data, _, _ = written(name, Encoding.BINARY)
    lines = remarks(data, tmp_path)
    assert "Segmentation" in lines
    assert not [line for line in lines if line.startswith("Error")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", Encoding)
def test_highdicom_reads_the_label_map_back(name: str, encoding: Encoding) -> None:
    data, image, label_map = written(name, encoding)
    assert image.header is not None
    uid = image.header.instances[0].sop_instance_uid
    seg = hd.seg.segread(io.BytesIO(data))
    if len(label_map) == 1:
        found = seg.get_pixels_by_source_instance([uid], combine_segments=True)
    else:
        found = seg.get_pixels_by_source_frame(
            uid,
            list(range(1, len(label_map) + 1)),
            combine_segments=True,
            ignore_spatial_locations=True,
        )
    assert np.array_equal(found, label_map)
