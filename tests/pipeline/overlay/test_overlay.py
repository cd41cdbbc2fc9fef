from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

from pipeline.overlay import MOST_SLICES, Picture, render
from pipeline.overlay.windows import LUNG, SOFT_TISSUE, SUV, window_of
from pipeline.phantoms import (
    ImageKind,
    ImageParameters,
    Phantom,
    Tissue,
    chest,
    head,
    image,
    torso,
)
from pipeline.phantoms.chest import DEFAULT
from pipeline.results import Classification, Detection, Prediction, Segment
from pipeline.volume import Image, Volume


def segmented(phantom: Phantom, tissue: Tissue) -> Prediction:
    label_map = phantom.mask(tissue).astype(np.uint8)
    segment = Segment(
        number=1,
        label=tissue.name.title(),
        voxels=int(label_map.sum()),
        volume_ml=1.0,
        centroid=None,
    )
    return Prediction(findings=(segment,), label_map=label_map)


def detected(phantom: Phantom) -> Prediction:
    findings = []
    for number, lesion in enumerate(phantom.lesions):
        centre = (np.linalg.inv(phantom.volume.affine) @ (*lesion.centre, 1.0))[:3]
        reach = lesion.radius / np.asarray(phantom.volume.spacing)
        s0, r0, c0, s1, r1, c1 = (float(v) for v in (*(centre - reach), *(centre + reach + 1)))
        findings.append(
            Detection(
                label="Nodule",
                score=0.9 - 0.1 * number,
                index_box=(s0, r0, c0, s1, r1, c1),
                centre=lesion.centre,
                size=(1.0, 1.0, 1.0),
            )
        )
    return Prediction(findings=tuple(findings))


def sprite_of(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(Pictures.open(io.BytesIO(picture.data)).convert("RGB"))


def tile_of(pictures: tuple[Picture, Picture], position: int) -> NDArray[np.uint8]:
    index = json.loads(pictures[1].data)
    width, height = index["tile"]
    row, column = divmod(position, index["columns"])
    return sprite_of(pictures[0])[row * height :, column * width :][:height, :width]


def test_the_same_input_gives_the_same_bytes() -> None:
    phantom = chest()
    prediction = segmented(phantom, Tissue.LUNG)
    one, other = (render(phantom.volume, prediction, name="lungs") for _ in range(2))
    assert one == other
    assert [picture.name for picture in one] == ["overlay-lungs.webp", "overlay-lungs.json"]


def test_segments_are_coloured_where_they_are_and_nowhere_else() -> None:
    phantom = chest(replace(DEFAULT, noise=0.0))
    pictures = render(phantom.volume, segmented(phantom, Tissue.LUNG), name="x")
    index = json.loads(pictures[1].data)
    for position, entry in enumerate(index["tiles"]):
        tile = tile_of(pictures, position).astype(int)
        is_colored = (tile.max(axis=2) - tile.min(axis=2)) > 24
        truth = phantom.mask(Tissue.LUNG)[entry["slice"] - 1]
        assert is_colored.any() == truth.any() == bool(entry["segments"])
        if truth.sum() > 500:
            assert is_colored.mean() == pytest.approx(truth.mean(), rel=0.2)


def test_the_slice_of_a_small_finding_is_always_shown() -> None:
    volume = chest(replace(DEFAULT, shape=(120, 64, 64), lesions=0)).volume
    label_map = np.zeros(volume.stored.shape, np.uint8)
    label_map[57, 30:33, 30:33] = 1
    segment = Segment(number=1, label="Dot", voxels=9, volume_ml=0.1, centroid=None)
    pictures = render(volume, Prediction(findings=(segment,), label_map=label_map), name="x")
    shown = [tile["slice"] for tile in json.loads(pictures[1].data)["tiles"] if tile["segments"]]
    assert shown == [58]


def test_boxes_are_drawn_on_the_slices_they_reach() -> None:
    phantom = chest(replace(DEFAULT, lesions=1, radius=(9.0, 9.0), noise=0.0))
    pictures = render(phantom.volume, detected(phantom), name="x")
    index = json.loads(pictures[1].data)
    assert any(entry["boxes"] for entry in index["tiles"])
    for position, entry in enumerate(index["tiles"]):
        tile = tile_of(pictures, position).astype(int)
        is_yellow = (tile[..., 0] - tile[..., 2]) > 90
        assert is_yellow.any() == bool(entry["boxes"])


def test_many_findings_do_not_make_many_pictures() -> None:
    volume = chest(replace(DEFAULT, shape=(200, 48, 48), lesions=0)).volume
    findings = tuple(
        Detection(
            label="x",
            score=0.5,
            index_box=(float(n), 1.0, 1.0, n + 1.0, 9.0, 9.0),
            centre=None,
            size=None,
        )
        for n in range(200)
    )
    pictures = render(volume, Prediction(findings=findings), name="x")
    assert len(json.loads(pictures[1].data)["tiles"]) == MOST_SLICES


def test_proportions_are_those_of_the_patient() -> None:
    volume = chest(replace(DEFAULT, shape=(4, 64, 64), spacing=(30.0, 6.0, 3.0), lesions=0)).volume
    index = json.loads(render(volume, Prediction(findings=()), name="x")[1].data)
    assert index["tile"] == [128, 256]


def test_nothing_of_the_patient_is_in_the_files() -> None:
    phantom = head()
    keys = set(json.loads(render(phantom.volume, detected(phantom), name="x")[1].data))
    assert keys == {
        "sprite",
        "tile",
        "columns",
        "slice_count",
        "plane",
        "edges",
        "window",
        "legend",
        "tiles",
    }


def test_a_report_of_forty_jobs_stays_small() -> None:
    phantom = chest(replace(DEFAULT, vessels=12))
    pictures = render(phantom.volume, segmented(phantom, Tissue.LUNG), name="x")
    assert len(pictures[0].data) < 15e6 / 40 * 3 / 4


def test_ct_is_windowed_by_what_was_found() -> None:
    phantom = chest()
    assert window_of(phantom.volume, segmented(phantom, Tissue.LUNG)) is LUNG
    assert window_of(phantom.volume, detected(phantom)) is LUNG
    assert window_of(phantom.volume, segmented(phantom, Tissue.BONE)) is SOFT_TISSUE
    liver = np.full((8, 32, 32), 1090, np.int16)
    soft = Volume(stored=liver, affine=np.eye(4), intercept=-1024.0, unit="HU")
    assert window_of(soft, Prediction(findings=())) is SOFT_TISSUE


def test_pet_is_windowed_by_suv_whatever_is_hottest() -> None:
    volume = torso().volume
    window = window_of(volume, Prediction(findings=()))
    assert window is SUV
    shown = window.apply(volume.values())
    assert shown.max() == 255
    # of SUV 1, the rest of the body
    assert np.median(shown[shown > 0]) == pytest.approx(255 / 7, abs=2)


def test_mr_is_windowed_by_percentiles_of_what_is_not_background() -> None:
    window = window_of(head().volume, Prediction(findings=()))
    assert 0 <= window.low < 100
    assert 400 < window.high < 900


@pytest.mark.parametrize("values", [np.zeros, np.ones])
def test_a_flat_image_is_drawn_without_complaint(values: Any) -> None:
    flat = Image(pixels=values((1, 16, 16), np.float32))
    assert render(flat, Prediction(findings=()), name="x")[0].data


@pytest.mark.parametrize("kind", ImageKind)
def test_single_images_are_shown_large(kind: ImageKind) -> None:
    phantom = image(ImageParameters(kind=kind))
    finding = Classification(label="lesion", score=0.9)
    pictures = render(phantom.image, Prediction(findings=(finding,)), name="x")
    index = json.loads(pictures[1].data)
    assert len(index["tiles"]) == 1
    assert max(index["tile"]) == 512


def test_colour_images_keep_their_colours() -> None:
    pixels = np.zeros((3, 20, 20, 3), np.uint8)
    pixels[..., 0] = 200
    pictures = render(Image(pixels=pixels), Prediction(findings=()), name="x")
    assert abs(tile_of(pictures, 1).astype(int).mean(axis=(0, 1)) - (200, 0, 0)).max() < 6
