"""A bundle that names a network of ours runs like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.models import bundle, networks, predictors
from pipeline.models.bundle import Bundle
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.models.whole_inputs import network_input
from pipeline.results import Classification, Segment
from tests.pipeline.models import tiny
from tests.pipeline.models.table.small import SMALL
from tests.pipeline.models.tiny import go_on

LABELS = (Label(number=0, name="none"), Label(number=1, name="some"), Label(number=2, name="many"))


def written(folder: Path, name: str, kind: Kind, labels: tuple[Label, ...]) -> Bundle:
    """Write a bundle of the network with fresh weights, for volumes of 12 x 16 x 16."""
    outputs = len(labels) + (1 if kind is Kind.SEGMENTATION else 0)
    arguments = {"spatial_dims": 3, "in_channels": 1, "out_channels": outputs, **SMALL[name]}
    spec = ModelSpec(
        name="some",
        version="1",
        kind=kind,
        title="Some",
        input=InputSpec(
            modalities=("CT",), spatial_dims=3, window=(-1000.0, 400.0), size=(12, 16, 16)
        ),
        labels=labels,
        network=name,
        network_arguments=arguments,
    )
    torch.manual_seed(0)
    state = networks.build(name, arguments).state_dict()
    return bundle.write(folder / "some", spec, weights=state, card="#")


@pytest.mark.parametrize(
    "name", ["SPPNet", "CNNLSTM", "AttentionMIL", "AttentionGatedNet", "FiLMNet"]
)
def test_a_classification_scores_as_its_network_does(tmp_path: Path, name: str) -> None:
    made = written(tmp_path, name, Kind.CLASSIFICATION, LABELS)
    images = [tiny.volume((12, 20, 18)), tiny.volume((5, 9, 30))]
    opened = predictors.open(made, device=Device())
    torch.manual_seed(0)
    network = networks.build(name, made.spec.network_arguments).eval()
    for image in images:
        found = opened.predict(image, checkpoint=go_on).findings
        scores = [one.score for one in found if isinstance(one, Classification)]
        with torch.no_grad():
            expected = network(network_input(image, made.spec)).softmax(1)[0]
        assert len(set(scores)) == 3
        assert scores == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_segmentation_labels_as_its_network_does(tmp_path: Path) -> None:
    made = written(tmp_path, "SEUNet", Kind.SEGMENTATION, LABELS[1:])
    image = tiny.volume((12, 16, 16))
    found = predictors.open(made, device=Device()).predict(image, checkpoint=go_on)
    torch.manual_seed(0)
    network = networks.build("SEUNet", made.spec.network_arguments).eval()
    values = torch.from_numpy((np.clip(image.stored, -1000, 400) + 1000.0) / 1400).float()
    with torch.no_grad():
        expected = network(values[None, None]).argmax(1)[0]
    assert found.label_map is not None
    assert len(expected.unique()) > 1
    np.testing.assert_array_equal(found.label_map, expected)
    segments = [one for one in found.findings if isinstance(one, Segment)]
    assert [one.voxels for one in segments] == [
        int((expected == number).sum()) for number in (1, 2)
    ]
