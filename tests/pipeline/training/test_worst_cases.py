"""The worst cases as pictures: which ones, and that both sides of them are drawn."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from pipeline.models.predictor import Predictor
from pipeline.models.spec import ModelSpec
from pipeline.overlay.windows import window_of
from pipeline.palette import DETECTION_COLOR
from pipeline.results import DerivedImage, Detection, Prediction
from pipeline.training import judging, reading, recipe, worst_cases
from pipeline.training.manifest import Part, freeze
from pipeline.volume import Input, Volume
from tests import quick_training


class Blind:
    """Finds the same wherever it looks: an eighth of the volume, or one box, or the input."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.spec: ModelSpec = recipe.check(STATED[kind]).spec("1")

    def predict(self, image: Input, *, checkpoint: Callable[[], None]) -> Prediction:
        checkpoint()
        values = image.stored if isinstance(image, Volume) else image.pixels
        mask = np.zeros((16, 16, 16), np.uint8)
        mask[:8, :8, :8] = 1
        if self.kind == "segmentation":
            return Prediction(findings=(), label_map=mask)
        if self.kind == "detection":
            corner = (4.0, 0.0, 0.0, 12.0, 4.0, 4.0)
            box = Detection(label="ball", score=0.5, index_box=corner, centre=None, size=None)
            return Prediction(findings=(box,))
        derived = DerivedImage(name="restored", values=values, affine=None)
        return Prediction(findings=(), derived=(derived,))


STATED = {
    "segmentation": quick_training.SEGMENTATION,
    "detection": quick_training.DETECTION,
    "restoration": quick_training.RESTORATION,
}


def nothing() -> None:
    """Nobody asks to stop."""


def drawn(folder: Path, kind: str) -> list[np.ndarray]:
    """Return the pictures of the worst cases as arrays (rows, columns, 3)."""
    wanted = recipe.check(STATED[kind])
    held_out = freeze(quick_training.write_balls(folder, kind), wanted).part(Part.HELD_OUT)
    predictor: Predictor = Blind(kind)
    scores = judging.judge(held_out, wanted, predictor, checkpoint=nothing)
    found = worst_cases.pictures(held_out, wanted, predictor, scores, checkpoint=nothing)
    assert len(found) == len(held_out) == 2
    assert {one.title.partition(":")[0] for one in found} == {
        case.image_digest[:16] for case in held_out
    }
    return [
        np.asarray(Pictures.open(io.BytesIO(base64.b64decode(one.data))), float) for one in found
    ]


def coloured(side: np.ndarray) -> int:
    """Count the pixels that are not grey."""
    return int((np.ptp(side, axis=2) > 40).sum())


def test_masks_are_drawn_as_found_and_as_they_are(tmp_path: Path) -> None:
    for sheet in drawn(tmp_path, "segmentation"):
        assert sheet.shape == (256, 512, 3)
        left, right = sheet[:, :256], sheet[:, 256:]
        assert coloured(left) > 1000
        assert coloured(right) > 100
        # what was found fills a quarter of the slice, what is true a ball in its middle
        assert coloured(left) == pytest.approx(128 * 128, rel=0.1)
        assert coloured(right[:60]) + coloured(right[-60:]) == 0


def test_what_is_learnt_beside_ct_is_not_shown_as_ct(tmp_path: Path) -> None:
    stated = quick_training.CLASSIFICATION["input"] | {"modalities": ["CT", "US"], "window": None}
    wanted = recipe.check(quick_training.CLASSIFICATION | {"input": stated})
    ramp = np.linspace(500, 1500, 256, dtype=np.float32).reshape(16, 16)
    np.save(tmp_path / "ramp.npy", ramp)
    image = reading.read_image(tmp_path / "ramp.npy", spatial_dims=2, unit="HU")
    shown = worst_cases._as_meant(image, wanted)
    grey = window_of(shown, Prediction(findings=())).apply(np.asarray(ramp))
    assert np.ptp(grey.astype(int)) > 200  # in a window of CT all of it is white
    alone = quick_training.CLASSIFICATION | {"input": stated | {"window": [-200, 200]}}
    assert worst_cases._as_meant(image, recipe.check(alone)).unit == "HU"


def test_boxes_are_drawn_as_found_and_as_they_are(tmp_path: Path) -> None:
    assert max(DETECTION_COLOR) - min(DETECTION_COLOR) > 40
    for sheet in drawn(tmp_path, "detection"):
        left, right = sheet[:, :256], sheet[:, 256:]
        assert coloured(left) > 50
        assert coloured(right) > 50


def test_restored_images_are_drawn_between_what_was_shown_and_what_is_true(tmp_path: Path) -> None:
    for sheet in drawn(tmp_path, "restoration"):
        assert sheet.shape == (256, 768, 3)
        shown, restored, true = sheet[:, :256], sheet[:, 256:512], sheet[:, 512:]
        # the model changes nothing; the truth has no noise
        assert np.abs(shown - restored).mean() < np.abs(shown - true).mean()


def test_a_case_that_is_gone_is_left_out(tmp_path: Path) -> None:
    wanted = recipe.check(STATED["segmentation"])
    manifest = quick_training.write_balls(tmp_path, "segmentation")
    held_out = freeze(manifest, wanted).part(Part.HELD_OUT)
    predictor: Predictor = Blind("segmentation")
    scores = judging.judge(held_out, wanted, predictor, checkpoint=nothing)
    held_out[0].image.write_bytes(b"gone")
    found = worst_cases.pictures(held_out, wanted, predictor, scores, checkpoint=nothing)
    assert len(found) == 1
