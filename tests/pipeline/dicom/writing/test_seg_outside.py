from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.dicom.writing.seg import write_seg
from pipeline.phantoms import (
    ImageKind,
    ImageParameters,
    PhantomParameters,
    Tissue,
    chest,
    write_image,
    write_series,
)
from pipeline.phantoms import image as image_phantom
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.segs import (
    PROVENANCE,
    blob_centre,
    read,
    segment,
)


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (12.0, -25.0, 40.0), (90.0, 0.0, 90.0)])
def test_a_lesion_comes_back_where_the_phantom_put_it_through_our_own_reader(
    tmp_path: Path, rotation: tuple[float, float, float]
) -> None:
    phantom = chest(
        PhantomParameters(
            shape=(20, 40, 44),
            spacing=(5.0, 7.0, 8.0),
            lesions=1,
            radius=(12.0, 12.0),
            rotation=rotation,
        )
    )
    write_series(phantom, tmp_path)
    volume = series.read_volume(tmp_path)
    label_map = phantom.mask(Tissue.LESION).astype(np.uint8)
    seg = read(write_seg(volume, label_map, [segment(1)], PROVENANCE))
    assert np.linalg.norm(blob_centre(seg) - phantom.lesions[0].centre) < 2.5


@pytest.mark.parametrize("kind", ImageKind)
def test_images_read_by_our_own_reader_can_be_segmented(kind: ImageKind, tmp_path: Path) -> None:
    phantom = image_phantom(ImageParameters(kind=kind, shape=(48, 40)))
    write_image(phantom, tmp_path)
    label_map = phantom.truth.astype(np.uint8)
    seg = read(write_seg(series.read_image(tmp_path), label_map, [segment(1)], PROVENANCE))
    assert np.array_equal(seg.pixel_array.reshape(-1, 48, 40), label_map)
