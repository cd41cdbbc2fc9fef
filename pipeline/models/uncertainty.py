"""How sure a model is: of an input as a whole, and of every voxel of a label map.

The entropy of the mean score is all there is to doubt. Where samples were drawn, the part of it by
which they disagree is the mutual information between label and network; the rest every one of them
shares (Depeweg et al., ICML 2018). Entropies are in bits: one bit is a coin, 0 is certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipeline.asking import Uncertainty
from pipeline.errors import ModelMismatch
from pipeline.models.calibration import Scores
from pipeline.models.cells import largest
from pipeline.models.sampling import Activation
from pipeline.models.spec import Label, ModelSpec
from pipeline.results import Code, Measurement, Prediction, Segment, ValueMap

#: UCUM's unit of information
BIT: Final = "bit"
ENTROPY: Final = "predictive entropy"
INFORMATION: Final = "mutual information"
DEVIATION: Final = "standard deviation"
_DEVIATION_CODE: Final = Code(scheme="SCT", value="386136009", meaning="Standard Deviation")


@dataclass(frozen=True, kw_only=True)
class InputUncertainty:
    """What samples say of one input. Tuples run along the numbers of the labels, from 0."""

    #: mean score, 0 to 1
    mean: tuple[float, ...]
    #: of the mean score, bits
    predictive_entropy: float
    #: standard deviation of the score (divided by the samples less one); None of one sample
    deviation: tuple[float, ...] | None = None
    #: bits; None of one sample
    mutual_information: float | None = None
    #: whether each label is in the prediction set; None where none was asked for
    in_set: tuple[bool, ...] | None = None

    def measurements(self, labels: Sequence[Label]) -> tuple[Measurement, ...]:
        """State everything but the mean, which is the score of a classification."""
        found = [Measurement(label=ENTROPY, value=self.predictive_entropy, unit=BIT)]
        if self.mutual_information is not None:
            found.append(Measurement(label=INFORMATION, value=self.mutual_information, unit=BIT))
        for what, values in (
            (f"{DEVIATION} of", self.deviation),
            ("prediction set has", self.in_set),
        ):
            if values is not None:
                found += [
                    Measurement(
                        label=f"{what} {one.name}", value=float(values[one.number]), unit="1"
                    )
                    for one in labels
                ]
        return tuple(found)


def of_input(samples: Scores, activation: Activation) -> InputUncertainty:
    """Return what samples say.

    Args:
        samples: (samples, labels), 0 to 1.
        activation: softmax: exactly one label holds; sigmoid: each by itself, and entropies are
            the sums of those of the labels.

    """
    mean = samples.mean(axis=0)
    whole = _entropy(mean, activation)
    if len(samples) == 1:
        return InputUncertainty(mean=_floats(mean), predictive_entropy=whole)
    each = float(np.mean([_entropy(one, activation) for one in samples]))
    return InputUncertainty(
        mean=_floats(mean),
        predictive_entropy=whole,
        deviation=_floats(samples.std(axis=0, ddof=1)),
        # rounding may leave a little less than nothing
        mutual_information=max(0.0, whole - each),
    )


def temperature_of(asked: Uncertainty, spec: ModelSpec) -> float:
    """Return what logits are divided by.

    Raises:
        ModelMismatch: the model's own is asked for, and it keeps none.

    """
    if asked.temperature != "stored":
        return asked.temperature or 1.0
    if spec.calibration is None:
        raise ModelMismatch(f"model {spec.name} keeps no temperature")
    return spec.calibration.temperature


class VoxelUncertainty:
    """Entropy and deviation of every voxel, filled slice by slice from the moments of samples."""

    def __init__(self, shape: tuple[int, ...], asked: Uncertainty) -> None:
        """Take the shape of the label map; of one sample there is no deviation."""
        self._asked = asked
        self._entropy = np.zeros(shape, np.float32)
        self._deviation = np.zeros(shape, np.float32) if asked.is_sampled else None

    def read(self, place: tuple[int, slice, slice], moments: Tensor) -> Tensor:
        """Keep what moments say of a part of a slice, and return its labels.

        Args:
            place: the part.
            moments: (2 * classes, rows, columns), the means and mean squares of the softmax.

        Returns:
            uint8 (rows, columns), the class of the largest mean.

        """
        mean, square = moments.chunk(2)
        labels = largest(mean)
        entropy = torch.special.entr(mean.clamp(min=0.0)).sum(0) / math.log(2)
        self._entropy[place] = entropy.cpu().numpy()
        if self._deviation is not None:
            chosen = labels[None].long()
            variance = square.gather(0, chosen) - mean.gather(0, chosen).square()
            self._deviation[place] = variance[0].clamp(min=0.0).sqrt().cpu().numpy()
        return labels

    def added_to(self, prediction: Prediction) -> Prediction:
        """Return a prediction with maps, and with the mean entropy of its segments."""
        return replace(
            prediction,
            findings=(*prediction.findings, *self._means(prediction)),
            maps=(*prediction.maps, *self._maps()),
            options={**prediction.options, "uncertainty": report(self._asked)},
        )

    def _maps(self) -> Iterator[ValueMap]:
        """Yield the entropy and, of several samples, the deviation of the label's score."""
        yield ValueMap(name=ENTROPY, values=self._entropy, unit=BIT)
        if self._deviation is not None:
            yield ValueMap(name=DEVIATION, values=self._deviation, code=_DEVIATION_CODE)

    def _means(self, prediction: Prediction) -> Iterator[Measurement]:
        """Yield the mean entropy in each segment that is not empty."""
        if prediction.label_map is None:
            return
        labels = prediction.label_map.ravel()
        sums = np.bincount(labels, weights=self._entropy.ravel(), minlength=256)
        for one in prediction.findings:
            if isinstance(one, Segment) and one.voxels:
                mean = float(sums[one.number] / one.voxels)
                yield Measurement(label=f"mean entropy of {one.label}", value=mean, unit=BIT)


def report(asked: Uncertainty) -> dict[str, object]:
    """Return what the run report says of what was asked."""
    return {name: value for name, value in asdict(asked).items() if value}


def _entropy(scores: Scores, activation: Activation) -> float:
    """Return bits."""
    likely = np.stack([scores, 1.0 - scores]) if activation == "sigmoid" else scores
    some = likely[likely > 0.0]
    return float(-(some * np.log2(some)).sum())


def _floats(values: Scores) -> tuple[float, ...]:
    return tuple(float(one) for one in values)
