"""Values of a table reach the network that reads them, and nobody else."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from torch import Tensor

from pipeline.asking import Conformal, Explain, MonteCarloDropout, Uncertainty
from pipeline.errors import ModelMismatch
from pipeline.models import beside, bundle, metadata, networks, predictors
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.spec import Calibration, InputSpec, Kind, Label, ModelSpec, TableValue
from pipeline.results import Classification, Prediction
from pipeline.volume import Channels, Volume
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

TABLE: Final = (
    TableValue(name="age", mean=50.0, scale=20.0),
    TableValue(name="sex"),
    TableValue(name="weight", mean=70.0, scale=10.0),
)
SHAPE: Final = (12, 20, 18)
FILM: Final[dict[str, Any]] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "values": 5,
    "features": [4, 8],
}


def film(**changes: Any) -> ModelSpec:
    stated = InputSpec(
        modalities=("CT",),
        spatial_dims=3,
        window=(-900.0, 300.0),
        # that of the volumes, so that nothing is resized
        size=SHAPE,
        table=TABLE,
    )
    given: dict[str, Any] = {
        "name": "film",
        "version": "1",
        "kind": Kind.CLASSIFICATION,
        "title": "FiLM",
        "input": stated,
        "labels": (Label(number=0, name="no"), Label(number=1, name="yes")),
        "network": "FiLMNet",
        "network_arguments": FILM,
    }
    return ModelSpec(**{**given, **changes})


def patient(shape: tuple[int, int, int] = SHAPE, **elements: Any) -> Volume:
    """Return the same voxels of a patient whose header says this."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    header = replace(tiny.header("CT", shape[0]), template=buffer.getvalue())
    return tiny.volume(shape, header=header)


def seen(shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Return what the network sees of such voxels."""
    return torch.from_numpy((tiny.volume(shape).stored + 900) / np.float32(1200))[None, None]


def trained(seed: int = 0) -> torch.nn.Module:
    """Return a network whose modulations are not those of a fresh one, which are 0."""
    torch.manual_seed(seed)
    network = networks.build("FiLMNet", FILM).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(requires_grad=False)
        torch.nn.init.normal_(parameter, 0.0, 0.5)
    return network


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return trained()


def scores(prediction: Prediction) -> list[float]:
    return [one.score for one in prediction.findings if isinstance(one, Classification)]


def expected(network: torch.nn.Module, values: list[float], known: list[bool]) -> list[float]:
    logits: Tensor = network(seen(), torch.tensor([values]), torch.tensor([known]))
    found: list[float] = logits.double().softmax(1)[0].tolist()
    return found


WOMAN: Final = {"PatientAge": "070Y", "PatientSex": "F", "PatientWeight": "65"}
CASES: Final = [
    (WOMAN, [1.0, 1.0, 0.0, 0.0, -0.5], [True] * 5),
    ({"PatientAge": "018M", "PatientSex": "O"}, [-2.425, 0, 0, 1, 0], [True] * 4 + [False]),
    ({}, [0.0] * 5, [False] * 5),
]


@pytest.mark.parametrize(("elements", "values", "known"), CASES)
def test_a_classification_is_that_of_the_network_told_what_the_header_says(
    network: torch.nn.Module, elements: dict[str, str], values: list[float], known: list[bool]
) -> None:
    predictor = ClassificationPredictor(film(), network, Device())
    prediction = predictor.predict(patient(**elements), checkpoint=go_on)
    np.testing.assert_allclose(scores(prediction), expected(network, values, known), atol=1e-5)
    assert prediction.options["table"] == {"age": known[0], "sex": known[1], "weight": known[4]}


def test_patients_in_one_pass_keep_their_own_values(network: torch.nn.Module) -> None:
    predictor = ClassificationPredictor(film(), network, Device())
    patients = [patient(**elements) for elements, _, _ in CASES]
    together = predictor.predict_many(patients, checkpoint=go_on)
    assert {one.options["together"] for one in together} == {3}
    for prediction, (_, values, known) in zip(together, CASES, strict=True):
        np.testing.assert_allclose(scores(prediction), expected(network, values, known), atol=1e-5)
    assert len({tuple(scores(one)) for one in together}) == 3


def test_an_ensemble_gives_every_member_the_values(tmp_path: Path) -> None:
    members = [trained(1), trained(2)]
    weights = {
        f"{number}.{name}": value
        for number, member in enumerate(members)
        for name, value in member.state_dict().items()
    }
    spec = film(options={"members": 2})
    written = bundle.write(tmp_path / "film", spec, weights=weights, card="# FiLM\n")
    predictor = predictors.open(written, device=Device())
    _, values, known = CASES[0]
    mean = np.mean([expected(member, values, known) for member in members], axis=0)
    found = predictor.predict(patient(**WOMAN), checkpoint=go_on)
    np.testing.assert_allclose(scores(found), mean, atol=1e-5)


def test_how_sure_a_model_is_rests_on_the_values_too(network: torch.nn.Module) -> None:
    spec = film(calibration=Calibration(scores=tuple(n / 20 for n in range(20))))
    predictor = ClassificationPredictor(spec, network, Device())
    asked = Uncertainty(flips=(0,), conformal=Conformal(coverage=0.9))
    found = predictor.predict_with_uncertainty(patient(**WOMAN), asked, checkpoint=go_on)
    _, values, known = CASES[0]
    image = seen()
    told = torch.tensor([values]), torch.tensor([known])
    both = [network(image, *told), network(image.flip(2), *told)]
    mean = torch.stack(both).double().softmax(2).mean(0)[0]
    np.testing.assert_allclose(scores(found), mean, atol=1e-5)
    assert found.options["table"] == {"age": True, "sex": True, "weight": True}


def test_thinned_networks_need_dropout_whatever_they_read_beside(network: torch.nn.Module) -> None:
    predictor = ClassificationPredictor(film(), network, Device())
    asked = Uncertainty(monte_carlo_dropout=MonteCarloDropout(samples=2))
    with pytest.raises(ModelMismatch, match="no dropout"):
        predictor.predict_with_uncertainty(patient(), asked, checkpoint=go_on)


@pytest.mark.parametrize("method", ["grad-cam", "feature-maps"])
def test_an_explanation_is_of_the_answer_for_this_patient(
    network: torch.nn.Module, method: Any
) -> None:
    spec = film(input=replace(film().input, size=(6, 8, 8)))
    predictor = ClassificationPredictor(spec, network, Device())
    asked = Explain(method=method)
    told, untold = (
        predictor.explain(one, asked, "yes", checkpoint=go_on).values
        for one in (patient((6, 8, 8), **WOMAN), patient((6, 8, 8)))
    )
    assert np.isfinite(told).all()
    assert np.abs(told - untold).max() > 0.1 * np.abs(told).max()


def test_of_several_series_the_first_tells_of_the_patient() -> None:
    series = Channels(volumes=(patient(**WOMAN), patient()), present=(False, True, True))
    assert beside.of(series, film()).known == {"age": True, "sex": True, "weight": True}


def test_a_whole_input_says_so_where_a_network_could_do_without_a_part() -> None:
    lone = replace(film(), network="EarlyFusion", input=replace(film().input, table=()))
    for one in (patient(), Channels(volumes=(patient(),), present=(True,))):
        assert beside.of(one, lone).tensors["present"].tolist() == [[True]]
        assert not beside.of(one, replace(lone, network="FiLM")).tensors


def test_metadata_keep_the_table_and_say_nothing_of_it_where_there_is_none() -> None:
    written = metadata.dump(film(), {})
    spec, found = metadata.parse(written, digest="")
    assert found == []
    assert spec is not None
    assert spec.input.table == TABLE
    plain = film(input=replace(film().input, table=()))
    assert "table" not in metadata.dump(plain, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network_arguments": {**FILM, "values": 4}}, "values is 4, input.table has 5"),
        ({"network": "SPPNet"}, "input.table needs a network that reads values: FiLMNet"),
        ({"table": (*TABLE, TableValue(name="age"))}, "input.table names a value twice"),
        ({"table": (TableValue(name="sex", mean=1.0),)}, "a sex has neither mean nor scale"),
        ({"table": (TableValue(name="size", scale=0.0),)}, "greater than 0"),
        ({"table": (TableValue(name="PatientName"),)}, "'age', 'sex', 'weight' or 'size'"),  # type: ignore[arg-type]
    ],
)
def test_a_table_that_the_network_cannot_read_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    stated = replace(film().input, table=changes.pop("table", TABLE))
    spec, found = metadata.parse(metadata.dump(film(input=stated, **changes), {}), digest="")
    assert spec is None
    assert said in "; ".join(found)
