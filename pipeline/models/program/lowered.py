"""Programs of the usual form, answered by our own way for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pipeline.errors import ModelMismatch
from pipeline.models import grids
from pipeline.models.predictor import Checkpoint
from pipeline.models.program import fit
from pipeline.models.program.predictor import ProgramPredictor
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.results import Prediction
from pipeline.volume import Channels, Input, Volume

_WAY: Final = "by ours for programs of this form, with the same labels"
_OUR_GRID: Final = "by ours for programs of this form, on a grid of ours"
_ELSEWHERE: Final = (
    "labels and probabilities are of a grid beside the one that the program would lay; without "
    "probabilities it runs as written"
)
#: mm by which MONAI may lay its grid elsewhere before labels differ
_SAME_GRID: Final = 1e-4


class LoweredPredictor:
    """Answer in the place of a program with the predictor that ``lowering`` found for it.

    Where MONAI would sample a volume at other points than we do, the program runs as written.
    """

    takes_volume: Final = True

    def __init__(self, written: ProgramPredictor, usual: SegmentationPredictor) -> None:
        self.spec = written.spec
        self._written = written
        self._usual = usual

    def predict(self, image: Input | Channels, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with a label map. See ``Predictor.predict``."""
        fit.check(image, self.spec, takes_volume=True)
        # one series: what takes several is never lowered
        if not isinstance(image, Volume) or self._is_shifted(image):
            return self._written.predict(image, checkpoint=checkpoint)
        return self._checked(self._usual.predict(image, checkpoint=checkpoint))

    def predict_channels(self, channels: Channels, *, checkpoint: Checkpoint) -> Prediction:
        """Answer for several series as one input: see ``TakesChannels``."""
        return self.predict(channels, checkpoint=checkpoint)

    def predict_with_probabilities(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with one map per label too: see ``KeepsProbabilities``.

        A program as written keeps none, so that this is our way wherever MONAI lays its grid.
        """
        fit.check(image, self.spec, takes_volume=True)
        found = self._checked(self._usual.predict_with_probabilities(image, checkpoint=checkpoint))
        if not isinstance(image, Volume) or not self._is_shifted(image):
            return found
        said = (*found.warnings, _ELSEWHERE)
        return replace(found, warnings=said, options={**found.options, "way": _OUR_GRID})

    def _is_shifted(self, volume: Volume) -> bool:
        return grids.shift_of_monai(volume, self._usual.spec.input) > _SAME_GRID

    def _checked(self, found: Prediction) -> Prediction:
        last = 0 if found.label_map is None else int(found.label_map.max())
        if last > len(self.spec.labels):
            sentence = f"the program answers with label {last}, stated are {len(self.spec.labels)}"
            raise ModelMismatch(sentence)
        return replace(found, options={"way": _WAY, **found.options})
