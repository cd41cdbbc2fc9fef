"""The worst held-out cases as pictures: what was found beside what is true.

They show images of patients, so they stand in the report in the store, never in a bundle.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from pipeline import overlay
from pipeline.errors import Interrupted, PipelineError
from pipeline.evaluation import summary
from pipeline.evaluation.gate_page import Picture
from pipeline.evaluation.scores import Scores
from pipeline.models.checks import needed_unit
from pipeline.models.predictor import Checkpoint, Predictor
from pipeline.overlay.slices import slice_count, telling
from pipeline.results import Classification, Detection, Finding, Prediction
from pipeline.training import data, degradation, judging, restoration
from pipeline.training.boxes import index_box
from pipeline.training.manifest import Case
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Channels, Input

COUNT: Final = 6
#: longer side of one tile, screen pixels
_TILE: Final = 256


def pictures(
    cases: Sequence[Case],
    recipe: Recipe,
    predictor: Predictor,
    scores: Scores,
    *,
    checkpoint: Checkpoint,
) -> list[Picture]:
    """Return the worst cases, the worst first, each drawn anew from its image.

    A case that cannot be read any more is left out: its scores are kept all the same.

    Raises:
        Interrupted: by ``checkpoint``, called before and within each case.

    """
    by_digest = {case.digest: case for case in cases}
    found = []
    for place, value in summary.worst(scores, COUNT):
        case = by_digest[scores.cases[place].case]
        checkpoint()
        try:
            sheet, said = _drawn(case, recipe, predictor, checkpoint)
        except Interrupted:
            raise
        except PipelineError:
            continue
        found.append(
            Picture(title=f"{case.image_digest[:16]}: {value:.3g}", said=said, data=_encoded(sheet))
        )
    return found


def _drawn(
    case: Case, recipe: Recipe, predictor: Predictor, checkpoint: Checkpoint
) -> tuple[Pictures.Image, str]:
    if recipe.kind == "restoration":
        return _restored(case, recipe, predictor, checkpoint)
    whole = data.read_case(case, recipe)
    image = _as_meant(whole.volumes[0] if isinstance(whole, Channels) else whole, recipe)
    truth = data.read_truth(case, recipe, whole)
    prediction = judging.answer(predictor, whole, checkpoint)
    if recipe.kind == "classification":
        called = ", ".join(
            one.label
            for one in prediction.findings
            if isinstance(one, Classification) and one.is_top
        )
        plain = Prediction(findings=())
        return overlay.beside(image, [plain], _slice(image, plain, plain)), (
            f"is {truth.label}, called {called}"
        )
    true = _as_prediction(truth, image)
    sheet = overlay.beside(image, [prediction, true], _slice(image, prediction, true))
    return sheet, "left found, right true"


def _as_meant(image: Input, recipe: Recipe) -> Input:
    """Return an image without its unit where the model does not go by it.

    A file that states no unit is taken for Hounsfield units where any CT is learnt from, which
    shows whatever else is learnt from too bright or too dark to see.
    """
    return image if needed_unit(recipe.spec("0")) else dataclasses.replace(image, unit="")


def _as_prediction(truth: Truth, image: Input) -> Prediction:
    """Return what is true as a model that knows all would say it."""
    mask = truth.mask
    if mask is None and truth.objects is not None:
        mask = (truth.objects > 0).astype(np.uint8)
    return Prediction(findings=tuple(_boxes(truth, image)), label_map=mask)


def _boxes(truth: Truth, image: Input) -> Iterator[Finding]:
    for box in truth.boxes or ():
        corners = index_box(box, image)
        s0, r0, c0, s1, r1, c1 = (float(value) for value in corners)
        yield Detection(
            label=box.label, score=1.0, index_box=(s0, r0, c0, s1, r1, c1), centre=None, size=None
        )


def _slice(image: Input, found: Prediction, true: Prediction) -> int:
    """Return the slice where the two differ most, or that shows most, or the middle one."""
    count = slice_count(image)
    if found.label_map is not None and true.label_map is not None:
        differ = (found.label_map > 0) != (true.label_map > 0)
        if differ.any():
            return int(differ.reshape(count, -1).sum(axis=1).argmax())
    for said in (true, found):
        shown = telling(said, count)
        if shown:
            return shown[0]
    return count // 2


def _restored(
    case: Case, recipe: Recipe, predictor: Predictor, checkpoint: Checkpoint
) -> tuple[Pictures.Image, str]:
    """Draw what was shown, what the model made of it, and what it was."""
    held = restoration.trial(case, recipe)
    (answer,) = predictor.predict(held.shown, checkpoint=checkpoint).derived
    middle = held.reference.shape[1] // 2
    three = (held.baseline, held.scaled(answer.values), held.reference)
    return overlay.joined([_grey(values, middle) for values in three]), (
        "left shown, middle restored, right true"
    )


def _grey(values: degradation.Values, index: int) -> Pictures.Image:
    """Return a slice of values from 0 to 1, (channels, slices, rows, columns)."""
    plane: NDArray[np.uint8] = np.rint(255 * np.clip(values[:, index], 0, 1)).astype(np.uint8)
    tile = Pictures.fromarray(plane[0] if len(plane) == 1 else np.moveaxis(plane, 0, -1))
    scale = _TILE / max(tile.size)
    size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
    return tile.convert("RGB").resize(size, Pictures.Resampling.BICUBIC)


def _encoded(sheet: Pictures.Image) -> str:
    """Return the picture as it stands in a page."""
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
