"""The one protocol that every loaded model answers by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from pipeline.asking import Explain, Uncertainty
from pipeline.models.spec import ModelSpec
from pipeline.results import Prediction, ValueMap
from pipeline.volume import Channels, Input

#: Called between windows; raises ``pipeline.errors.Interrupted`` or ``DeadlineExceeded`` to stop.
Checkpoint = Callable[[], None]


class Predictor(Protocol):
    """A loaded model version that answers for an input. Thread-safe: jobs share it."""

    spec: ModelSpec

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer for one input, on its own grid.

        Raises:
            ModelMismatch: the input does not fit ``spec``.
            OutOfMemory: memory was used up after every step down.
            Interrupted, DeadlineExceeded: raised by ``checkpoint``.

        """
        ...


@runtime_checkable
class KeepsProbabilities(Protocol):
    """A predictor of label maps that can also say how probable each label is in each voxel."""

    def predict_with_probabilities(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer as ``predict`` does, with one ``ValueMap`` for each segment in ``maps``.

        Raises:
            OutOfMemory: the maps do not fit into the memory they may take.
            ModelMismatch, Interrupted, DeadlineExceeded: as ``Predictor.predict``.

        """
        ...


@runtime_checkable
class TakesMany(Protocol):
    """A predictor that answers for several small inputs faster together than one by one."""

    def predict_many(self, images: Sequence[Input], *, checkpoint: Checkpoint) -> list[Prediction]:
        """Answer for each input as ``predict`` does, in their order.

        Raises:
            ModelMismatch, OutOfMemory, Interrupted, DeadlineExceeded: as ``Predictor.predict``, for
                any of the inputs.

        """
        ...


@runtime_checkable
class TakesChannels(Protocol):
    """A predictor that answers for several series of one study as the channels of one input."""

    def predict_channels(self, channels: Channels, *, checkpoint: Checkpoint) -> Prediction:
        """Answer as ``predict`` does, on the grid that the series share.

        Raises:
            ModelMismatch, OutOfMemory, Interrupted, DeadlineExceeded: as ``Predictor.predict``;
                ModelMismatch also where the model asks for another number of series.

        """
        ...


@runtime_checkable
class SaysHowSure(Protocol):
    """A predictor that can answer several times, and say how far the answers agree."""

    def predict_with_uncertainty(
        self, image: Input | Channels, asked: Uncertainty, *, checkpoint: Checkpoint
    ) -> Prediction:
        """Answer with the mean of all samples.

        Beside what ``predict`` states there are, of a classification, measurements of the entropy
        of the mean, of the mutual information (bits), of the standard deviation of each score, and
        whether each label is in the prediction set; of a segmentation, maps of the entropy and the
        standard deviation, and the mean entropy in each segment. The same question has the same
        answer.

        Raises:
            ModelMismatch: the model cannot say what is asked.
            OutOfMemory, Interrupted, DeadlineExceeded: as ``Predictor.predict``.

        """
        ...


@runtime_checkable
class Explains(Protocol):
    """A predictor that can say where in its input it saw a label."""

    def explain(
        self, image: Input | Channels, asked: Explain, label: str, *, checkpoint: Checkpoint
    ) -> ValueMap:
        """Return a map on the grid of the input: the more, the more the label rests on it.

        Raises:
            ModelMismatch: the model knows no such label or layer, or cannot be explained so.
            OutOfMemory, Interrupted, DeadlineExceeded: as ``Predictor.predict``.

        """
        ...
