"""What a validator says of written objects.

LABELMAP is left out: Supplement 243 is younger than the packaged dciodvfy. Other readers look at
it in ``test_seg_exact``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.dicom.writing.parametric_map import write_parametric_map
from pipeline.dicom.writing.seg import write_seg
from pipeline.dicom.writing.seg_fractional import write_fractional_seg
from pipeline.phantoms import ImageKind, ImageParameters, chest, write_image
from pipeline.phantoms import image as image_phantom
from pipeline.results import Code, ValueMap
from pipeline.volume import Volume
from tests.pipeline.dicom.segs import (
    PROVENANCE,
    SMALL,
    as_multiframe,
    header_of,
    made_volume,
    on_disk,
    segment,
    with_blob,
)
from tests.pipeline.dicom.writing.validator import errors, needs_dciodvfy, remarks

pytestmark = needs_dciodvfy

LUNG = Code(scheme="SCT", value="39607008", meaning="Lung")


def sources(folder: Path) -> dict[str, Volume]:
    classic = on_disk(chest(SMALL), folder / "source")
    assert classic.header is not None
    return {
        "classic": classic,
        "enhanced": replace(classic, header=as_multiframe(classic, [2, 0, 4, 1, 3])),
        "nameless": replace(classic, header=replace(classic.header, frame_of_reference_uid=None)),
    }


@pytest.mark.parametrize("source", ["classic", "enhanced", "nameless"])
@pytest.mark.parametrize("is_empty", [False, True])
def test_a_binary_segmentation_is_without_fault(
    source: str, tmp_path: Path, *, is_empty: bool
) -> None:
    label_map, _ = with_blob(SMALL.shape)
    label_map[0, 1, 1] = 2
    data = write_seg(
        sources(tmp_path)[source],
        label_map * (not is_empty),
        [segment(1, "Lung", LUNG), segment(2)],
        PROVENANCE,
    )
    assert remarks(data, tmp_path) == ["Segmentation"]


def test_a_segmentation_of_odd_frames_is_without_fault(tmp_path: Path) -> None:
    label_map = np.ones((3, 5, 7), np.uint8)
    data = write_seg(made_volume((3, 5, 7)), label_map, [segment(1)], PROVENANCE)
    assert remarks(data, tmp_path) == ["Segmentation"]


@pytest.mark.parametrize("source", ["classic", "enhanced"])
def test_a_fractional_segmentation_is_without_fault(source: str, tmp_path: Path) -> None:
    one = ValueMap(name="Lung", values=np.random.default_rng(0).random(SMALL.shape, np.float32))
    data = write_fractional_seg(
        sources(tmp_path)[source], [one], [segment(1, "Lung", LUNG)], PROVENANCE
    )
    assert remarks(data, tmp_path) == ["Segmentation"]


@pytest.mark.parametrize(
    ("kind", "frames"), [*((kind, 1) for kind in ImageKind), (ImageKind.US, 3)]
)
def test_a_segmentation_of_an_image_or_a_loop_is_without_fault(
    kind: ImageKind, frames: int, tmp_path: Path
) -> None:
    phantom = image_phantom(ImageParameters(kind=kind, shape=(48, 40), frames=frames))
    header = header_of(write_image(phantom, tmp_path / "source").paths)
    label_map = phantom.truth.astype(np.uint8)
    data = write_seg(replace(phantom.image, header=header), label_map, [segment(1)], PROVENANCE)
    assert remarks(data, tmp_path) == ["Segmentation"]


@pytest.mark.parametrize("source", ["classic", "enhanced", "nameless"])
def test_a_parametric_map_has_no_error(source: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(SMALL.shape, np.float32)
    maps = [
        ValueMap(
            name="Lung",
            values=values,
            code=Code(scheme="DCM", value="122157", meaning="Probability"),
        ),
        ValueMap(name="Grad-CAM", values=values),
    ]
    for data in write_parametric_map(sources(tmp_path)[source], maps, PROVENANCE):
        assert remarks(data, tmp_path)[0] == "ParametricMap"
        assert errors(data, tmp_path) == []
