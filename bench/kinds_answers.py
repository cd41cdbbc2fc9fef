"""Pictures of what models trained by ``bench.kinds_learnt`` say of cases that they never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from bench.kinds_learnt import Learnt
from bench.kinds_sheets import Scene, Tile
from bench.kinds_shipped import Rows, go_on, opened, say
from pipeline.asking import OF_A_LAYER, Explain, Method, MonteCarloDropout, Uncertainty
from pipeline.models.calibration import calibrate, prediction_set, tempered
from pipeline.models.predictor import Explains, Predictor, SaysHowSure
from pipeline.overlay.slices import values_of
from pipeline.phantoms.image import ImageKind, ImageParameters
from pipeline.phantoms.image import image as draw
from pipeline.results import Classification, Measurement, Prediction, ValueMap
from pipeline.training import data as cases
from pipeline.training import degradation
from pipeline.training.manifest import Case
from pipeline.volume import Input

#: what the methods explain that look at a layer: finer than the last, which is a sixteenth as fine
_LAYER: Final = "features.denseblock1"
_METHODS: Final[tuple[Method, ...]] = (
    "grad-cam",
    "grad-cam++",
    "occlusion",
    "integrated-gradients",
    "feature-maps",
)
#: seed of a phantom beyond those that the demonstrations learn from
_UNSEEN: Final = 5001
_DROPOUT: Final = Uncertainty(monte_carlo_dropout=MonteCarloDropout(samples=20))
_COVERAGE: Final = 0.9
#: every so many held-out cases is asked twenty times
_EVERY: Final = 4


def explained(learnt: Learnt) -> Rows:
    """Explain a lesion in a phantom, and the first held-out slice that the model gets right."""
    phantom = draw(ImageParameters(kind=ImageKind.CT, seed=_UNSEEN)).image
    demonstration, predictor = opened("demo-image-lesion-classification"), learnt.open()
    said = (
        (image, _top(predictor.predict(image, checkpoint=go_on)).label)
        for image in _images(learnt, "pituitary")
    )
    slice_ = next(image for image, label in said if label == "pituitary")
    return [_explained(demonstration, phantom), _explained(predictor, slice_)]


def _explained(predictor: Predictor, image: Input) -> list[Tile]:
    """Explain the likeliest label of an image by every method."""
    assert isinstance(predictor, Explains)
    top, scene = _top(predictor.predict(image, checkpoint=go_on)), Scene(image=image)
    tiles = [scene.plain(f"{top.label} {top.score:.2f}")]
    for method in _METHODS:
        asked = Explain(method=method, layer=_LAYER if method in OF_A_LAYER else None)
        found = predictor.explain(image, asked, top.label, checkpoint=go_on)
        tiles.append(scene.heated(found, method))
    return tiles


def _images(learnt: Learnt, label: str) -> Iterator[Input]:
    return (
        cases.read_image(case, learnt.recipe) for case in learnt.held_out if case.label == label
    )


def how_sure(learnt: Learnt) -> Rows:
    """Show the held-out slices of least and of most entropy, and what the model says of them."""
    predictor = learnt.open()
    assert isinstance(predictor, SaysHowSure)
    calibration = calibrate(*_scores(learnt, learnt.validation))
    scores, truth = _scores(learnt, learnt.held_out)
    sets = prediction_set(tempered(scores, calibration.temperature), calibration, _COVERAGE)
    say(
        f"brain-slices: temperature {calibration.temperature:.2f}; of {len(truth)} held-out cases "
        f"{sets[np.arange(len(truth)), truth].mean():.0%} have their label in a set for "
        f"{_COVERAGE:.0%}, of {sets.sum(1).mean():.1f} labels on average; accuracy "
        f"{(scores.argmax(1) == truth).mean():.2f}"
    )
    asked = []
    for case in learnt.held_out[::_EVERY]:
        image = cases.read_image(case, learnt.recipe)
        found = predictor.predict_with_uncertainty(image, _DROPOUT, checkpoint=go_on)
        asked.append((_entropy(found), case, image, found))
    asked.sort(key=lambda one: one[0])
    return [[_sure(*one) for one in asked[:5]], [_sure(*one) for one in asked[-5:]]]


def _sure(entropy: float, case: Case, image: Input, found: Prediction) -> Tile:
    top = _top(found)
    return Scene(image=image).plain(f"{case.label}; {top.label} {top.score:.2f}, {entropy:.2f} bit")


def _scores(learnt: Learnt, of: Sequence[Case]) -> tuple[Any, Any]:
    """Return scores (cases, labels) and the numbers of the true labels (cases,)."""
    predictor, names = learnt.open(), [label.name for label in learnt.recipe.labels]
    scores = []
    for case in of:
        image = cases.read_image(case, learnt.recipe)
        said = predictor.predict(image, checkpoint=go_on).findings
        by_label = {one.label: one.score for one in said if isinstance(one, Classification)}
        scores.append([by_label[name] for name in names])
    return np.array(scores), np.array([names.index(str(case.label)) for case in of])


def nuclei(learnt: Learnt) -> Rows:
    """Segment, part and doubt the nuclei of two held-out images."""
    semantic, parted = learnt.open(), learnt.open(instances=True, border=2, minimum_voxels=12)
    assert isinstance(semantic, SaysHowSure)
    _say_dice(learnt)
    rows = []
    for case in learnt.held_out[:2]:
        image = cases.read_image(case, learnt.recipe)
        truth = cases.read_truth(case, learnt.recipe, image).mask
        found = semantic.predict_with_uncertainty(image, _DROPOUT, checkpoint=go_on)
        objects = parted.predict(image, checkpoint=go_on).label_map
        assert truth is not None
        assert objects is not None
        assert found.label_map is not None
        scene = Scene(image=image)
        rows.append(
            [
                scene.plain("held-out image"),
                scene.labelled(truth, "what is true"),
                scene.labelled(found.label_map, "segmentation"),
                scene.labelled(objects, f"instances: {objects.max()}"),
                scene.heated(_map(found, "predictive entropy"), "predictive entropy"),
            ]
        )
    return rows


def hippocampus(learnt: Learnt) -> Rows:
    """Segment the first held-out volume in three axes, and say where that is uncertain."""
    predictor = learnt.open()
    assert isinstance(predictor, SaysHowSure)
    _say_dice(learnt)
    case = learnt.held_out[0]
    image = cases.read_image(case, learnt.recipe)
    truth = cases.read_truth(case, learnt.recipe, image).mask
    found = predictor.predict_with_uncertainty(image, _DROPOUT, checkpoint=go_on)
    assert truth is not None
    assert found.label_map is not None
    scene = Scene(image=image, index=int(np.count_nonzero(truth, axis=(1, 2)).argmax()))
    return [
        [
            scene.plain(f"held-out volume, slice {scene.index + 1}"),
            scene.labelled(truth, "what is true"),
            scene.labelled(found.label_map, "segmentation"),
            scene.heated(_map(found, "predictive entropy"), "predictive entropy"),
            scene.heated(_map(found, "standard deviation"), "standard deviation"),
        ]
    ]


def finer(learnt: Learnt) -> Rows:
    """Make a held-out slice coarser, and let the model and cubic interpolation make it finer."""
    case = learnt.held_out[-1]
    image = cases.read_image(case, learnt.recipe)
    held = degradation.trial(image, learnt.recipe, np.random.default_rng(0))
    (answer,) = learnt.open().predict(held.shown, checkpoint=go_on).derived
    found, gain = (learnt.metrics[name]["value"] for name in ("psnr_db", "psnr_gain_db"))
    say(f"finer-brain: PSNR {found:.1f} dB, {gain:.1f} dB more than by cubic interpolation")
    scene = Scene(image=image, part=(0.2, 0.5, 0.5, 0.8))
    span = held.high - held.low
    return [
        [
            scene.other(values_of(held.shown, 0), "every 2 x 2 pixels joined"),
            scene.other(held.baseline[0, 0] * span + held.low, "cubic interpolation"),
            scene.other(answer.values[0], "EDSR"),
            scene.plain("as it was"),
        ]
    ]


def _say_dice(learnt: Learnt) -> None:
    labels = learnt.metrics["labels"]
    dice = {name: round(of["dice"]["value"], 3) for name, of in labels.items()}
    say(f"{learnt.recipe.name}: Dice of {len(learnt.held_out)} held-out cases {dice}")


def _top(prediction: Prediction) -> Classification:
    said = (one for one in prediction.findings if isinstance(one, Classification))
    return next(one for one in said if one.is_top)


def _entropy(prediction: Prediction) -> float:
    said = (one for one in prediction.findings if isinstance(one, Measurement))
    return next(one.value for one in said if one.label == "predictive entropy")


def _map(prediction: Prediction, name: str) -> ValueMap:
    return next(one for one in prediction.maps if one.name.startswith(name))


#: name of the picture -> the recipe of its model, and what makes it
LEARNT: Final[Mapping[str, tuple[str, Callable[[Learnt], Rows]]]] = {
    "explanations": ("brain-slices", explained),
    "how-sure": ("brain-slices", how_sure),
    "nuclei": ("nuclei", nuclei),
    "hippocampus": ("hippocampus", hippocampus),
    "super-resolution": ("finer-brain", finer),
}
