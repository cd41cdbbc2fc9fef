"""Pictures of what works without training: image steps, rules, and the shipped demonstrations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter

from bench.kinds_series import only_series
from bench.kinds_sheets import Scene, Tile
from pipeline.analysis import parse
from pipeline.models import bundle, predictors
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
from pipeline.overlay.windows import LUNG, SOFT_TISSUE, Window
from pipeline.phantoms.chest import chest
from pipeline.preprocess.preparing import prepare
from pipeline.preprocess.steps import ImageStep
from pipeline.results import Detection, Prediction
from pipeline.volume import Input

Rows = list[list[Tile]]

CHEST: Final = "dicom/ct_chest_lidc0314"
_BONE: Final = Window("bone", -200.0, 800.0)
_UNIT: Final = Window("0 to 1", 0.0, 1.0)
#: slices that steps in three axes see; the middle one is shown
_SLAB: Final = 5
_NODULES: Final = ("detection", "segmentation")
_HOUSE: Final = Path(__file__).parent.parent
_CHAIN: Final = TypeAdapter(tuple[ImageStep, ...])
#: caption -> the steps, and what their values are shown in
_STEPS: Final[dict[str, tuple[list[dict[str, Any]], Window]]] = {
    "median, radius 2 mm": ([{"median": {"radius_mm": 2, "slicewise": True}}], SOFT_TISSUE),
    "bilateral, 2 mm, 100 HU": (
        [{"bilateral": {"radius_mm": 2, "sigma_value": 100, "slicewise": True}}],
        SOFT_TISSUE,
    ),
    "non_local_means, strength 40": (
        [{"non_local_means": {"strength": 40, "distance_voxels": 4}}],
        SOFT_TISSUE,
    ),
    "window, then clahe": ([{"window": {"level": -500, "width": 1500}}, {"clahe": {}}], _UNIT),
    "otsu": ([{"otsu": {}}], _UNIT),
    "canny, sigma 2 mm": (
        [{"window": {"level": -500, "width": 1500}}, {"canny": {"sigma_mm": 2}}],
        _UNIT,
    ),
    "otsu, open, largest, fill_holes": (
        [{"otsu": {}}, {"open": {"radius_mm": 3}}, {"largest": {}}, {"fill_holes": {}}],
        _UNIT,
    ),
}


def steps(data: Path) -> Rows:
    """Image steps on a slab of the chest CT."""
    slab = _prepared(only_series(data / CHEST), [{"crop": {"size": [_SLAB, 512, 512]}}])
    middle = _SLAB // 2
    tiles = [Scene(image=slab, index=middle, window=SOFT_TISSUE).plain("as it was")]
    for caption, (chain, window) in _STEPS.items():
        made = _prepared(slab, chain)
        tiles.append(Scene(image=made, index=middle, window=window).plain(caption))
    return [tiles[:4], tiles[4:]]


def rules(data: Path) -> Rows:
    """Masks by rules, nothing learned: lungs by threshold, bone by the analysis ``ct-bone``."""
    volume = only_series(data / CHEST)
    lungs = _answer("threshold-lung", volume)
    bone = _answer("classical-ct-bone", _prepared(volume, _smooth()))
    tiles = []
    for prediction, window, name in ((lungs, LUNG, "lung"), (bone, _BONE, "bone")):
        labels = prediction.label_map
        assert labels is not None
        index = int(np.count_nonzero(labels, axis=(1, 2)).argmax())
        scene = Scene(image=volume, index=index, window=window)
        tiles += [scene.plain(f"slice {index + 1}"), scene.labelled(labels, name)]
    return [tiles]


def denoised(data: Path) -> Rows:
    """A restoration: the demonstration, which learned from phantoms, on a real CT."""
    volume = only_series(data / CHEST)
    (derived,) = _answer("demo-ct-denoising", volume).derived
    index = volume.stored.shape[0] // 2
    taken = volume.values()[index] - derived.values[index]
    scene = Scene(image=volume, index=index, window=SOFT_TISSUE, part=(0.32, 0.3, 0.68, 0.66))
    around_zero = Scene(
        image=volume, index=index, window=Window("noise", -60.0, 60.0), part=scene.part
    )
    say(
        f"demo-ct-denoising changes slice {index + 1} by {taken.std():.0f} HU, a standard deviation"
    )
    return [
        [
            scene.plain("as it was"),
            scene.other(derived.values[index], "demo-ct-denoising"),
            around_zero.other(taken, "taken out, -60 to 60 HU"),
        ]
    ]


def nodules(data: Path) -> Rows:
    """Detection and segmentation in a phantom chest, and what they say of a real one."""
    made = chest()
    boxes, masks = (_answer(f"demo-ct-nodule-{what}", made.volume) for what in _NODULES)
    found = [one for one in boxes.findings if isinstance(one, Detection)]
    best = max(found, key=lambda one: one.score)
    index = int((best.index_box[0] + best.index_box[3]) / 2)
    assert masks.label_map is not None
    scene = Scene(image=made.volume, index=index, window=LUNG)
    real = _answer("demo-ct-nodule-detection", only_series(data / CHEST))
    count = sum(isinstance(one, Detection) for one in real.findings)
    say(f"demo-ct-nodule-detection: {len(found)} boxes in the phantom, {count} in the real chest")
    return [
        [
            scene.plain("phantom"),
            scene.boxed(found, "boxes and scores"),
            scene.labelled(masks.label_map, "segments"),
        ]
    ]


def _smooth() -> Sequence[ImageStep]:
    """Return how the analysis ``ct-bone`` makes its input ready."""
    text = (_HOUSE / "analyses" / "ct-bone.yaml").read_text()
    return parse(text).prepare["smooth"].steps


def _prepared(image: Input, steps: Sequence[ImageStep] | list[dict[str, Any]]) -> Input:
    return prepare(image, _CHAIN.validate_python(steps), checkpoint=go_on).image


def _answer(name: str, image: Input) -> Prediction:
    return opened(name).predict(image, checkpoint=go_on)


def opened(name: str) -> Predictor:
    """Load a shipped model."""
    return predictors.open(bundle.load(_HOUSE / "models" / name), device=Device("cpu"))


def go_on() -> None:
    """Let the work go on."""


def say(line: str) -> None:
    """Print a figure."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


#: name of the picture -> what makes it
SHIPPED: Final[Mapping[str, Callable[[Path], Rows]]] = {
    "steps": steps,
    "rules": rules,
    "denoising": denoised,
    "nodules": nodules,
}
