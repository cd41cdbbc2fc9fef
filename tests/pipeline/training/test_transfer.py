"""Transfer learning: what is taken over, what begins afresh, what stays frozen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.errors import TrainingRefused
from pipeline.models import bundle
from pipeline.training import recipe, transfer
from pipeline.training.fields import TransferField
from pipeline.training.transfer import Source, Transferred
from tests import quick_training


class Small(nn.Module):
    """A first layer with batch statistics, a second one, and a head."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(channels, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.layer10 = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, classes)."""
        logits: Tensor = self.head(self.layer10(self.layer1(images)).mean((2, 3)))
        return logits


class Plain:
    """A task around ``Small``."""

    def __init__(self, **arguments: int) -> None:
        self.arguments = arguments

    def network(self) -> nn.Module:
        """Return fresh weights."""
        return Small(**self.arguments)

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return 1 + 0 * epoch

    def batches(self, epoch: int, first: int) -> Iterator[Tensor]:
        """Yield one batch."""
        del epoch
        yield from [torch.ones(2, 1, 4, 4)][first:]

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        """Return the mean answer."""
        answer: Tensor = network(batch)
        return answer.square().mean()

    def score(self, network: nn.Module) -> float | None:
        """Return nothing."""
        del network
        return None


def source(**arguments: int) -> Source:
    torch.manual_seed(5)
    return Source(name="old@1.0", digest="", weights=Small(**arguments).state_dict())


def taken(wanted: dict[str, Any], there: Source, channels: int = 1, classes: int = 2) -> Any:
    field = TransferField(source="old@1.0", **wanted)
    return transfer.take(there, Small(channels, classes), field, channels=channels)


def test_everything_of_the_same_name_and_shape_is_taken_over() -> None:
    there = source()
    found = taken({}, there)
    assert (found.adapted, found.fresh) == ((), ())
    task = Transferred(inner=Plain(), wanted=TransferField(source="old@1.0"), taken=found)
    weights = task.network().state_dict()
    assert weights.keys() == there.weights.keys()
    assert all(torch.equal(weights[name], there.weights[name]) for name in weights)


def test_a_head_for_other_classes_begins_afresh() -> None:
    found = taken({}, source(), classes=4)
    assert found.fresh == ("head.weight", "head.bias")
    assert "layer10.weight" in found.weights


def test_what_is_reset_begins_afresh_and_nothing_that_only_begins_alike() -> None:
    found = taken({"reset": ["layer1"]}, source())
    assert {name.split(".")[0] for name in found.fresh} == {"layer1"}
    assert "layer10.weight" in found.weights


@pytest.mark.parametrize(("there", "here"), [(3, 1), (1, 3), (4, 2)])
def test_the_first_layer_answers_to_grey_as_before_whatever_the_channels(
    there: int, here: int
) -> None:
    old = source(channels=there)
    found = taken({}, old, channels=here)
    assert found.adapted == ("layer1.0.weight",)
    grey = torch.rand(2, 1, 6, 6)
    before, after = Small(there), Small(here)
    before.load_state_dict(old.weights)
    after.load_state_dict(found.weights)
    with torch.no_grad():
        expected = before.eval()(grey.expand(-1, there, -1, -1))
        assert after.eval()(grey.expand(-1, here, -1, -1)) == pytest.approx(expected, abs=1e-5)


def test_only_the_layer_that_reads_the_input_is_adapted() -> None:
    old = source()
    wider = {**old.weights, "layer10.weight": torch.zeros(3, 5, 3, 3)}
    found = taken({}, Source(name="old@1.0", digest="", weights=wider))
    assert (found.adapted, found.fresh) == ((), ("layer10.weight",))


def test_names_are_told_apart_by_their_longest_beginning() -> None:
    weights = {f"net.body.{name}": one for name, one in source().weights.items()}
    there = Source(name="old@1.0", digest="", weights=weights)
    found = taken({"rename": {"net.": "other.", "net.body.": ""}}, there)
    assert not found.fresh


def test_nothing_that_fits_is_refused() -> None:
    there = Source(name="old@1.0", digest="", weights={"a": torch.zeros(3)})
    with pytest.raises(TrainingRefused, match="none of its weights"):
        taken({}, there)


@pytest.mark.parametrize(
    ("wanted", "classes", "named"),
    [
        ({"frozen": [{"part": "layer2"}]}, 2, "no part layer2"),
        ({"frozen": [{"part": "head"}]}, 4, "head.weight begins afresh"),
        ({"frozen": [{"part": part} for part in ("layer1", "layer10", "head")]}, 2, "everything"),
    ],
)
def test_what_cannot_stay_frozen_is_refused(
    wanted: dict[str, Any], classes: int, named: str
) -> None:
    with pytest.raises(TrainingRefused, match=named):
        taken(wanted, source(), classes=classes)


def test_frozen_parts_stay_as_they_are_with_their_statistics_until_they_thaw() -> None:
    wanted = TransferField(
        source="old@1.0", frozen=({"part": "layer1", "epochs": 2}, {"part": "layer10"})
    )
    task = Transferred(inner=Plain(), wanted=wanted, taken=taken({}, source()))
    network = task.network()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    moved = []
    for epoch in range(3):
        before = {name: one.clone() for name, one in network.state_dict().items()}
        network.train()
        task.begin_epoch(network, epoch)
        optimiser.zero_grad()
        task.loss(network, torch.rand(2, 1, 4, 4)).backward()
        optimiser.step()
        after = network.state_dict()
        moved.append(
            {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
        )
    assert moved == [{"head"}, {"head"}, {"head", "layer1"}]


def test_weights_are_read_from_a_bundle_and_from_files(tmp_path: Path) -> None:
    weights = Small().state_dict()
    save_file(weights, tmp_path / "a.safetensors")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "a.pt")
    for file in ("a.safetensors", "a.pt"):
        found = transfer.open_source(file, tmp_path / file)
        assert found.weights.keys() == weights.keys()
        assert len(found.digest) == 64
    wanted = recipe.check(quick_training.CLASSIFICATION)
    from pipeline.models import networks

    network = networks.build(wanted.network.name, wanted.network.arguments)
    made = bundle.write(
        tmp_path / "bundle", wanted.spec("1.0"), weights=network.state_dict(), card="# A card"
    )
    found = transfer.open_source("quick@1.0", tmp_path / "bundle")
    assert found.digest == made.digest
    assert found.weights.keys() == network.state_dict().keys()


def test_a_source_is_registered_or_lies_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "registered").mkdir()
    for place in (tmp_path / "a.safetensors", tmp_path / "registered" / "b.safetensors"):
        save_file(Small().state_dict(), place)
    registered = {"old@1.0": str(tmp_path / "registered" / "b.safetensors")}
    for name in ("old@1.0", "a.safetensors"):
        found = transfer.find(TransferField(source=name), registered, tmp_path)
        assert found.name == name
    with pytest.raises(TrainingRefused, match=r"old@2\.0: no model"):
        transfer.find(TransferField(source="old@2.0"), registered, tmp_path)


class Malice:
    """Would run code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a pickle would call."""
        return (pytest.fail, ("code of a file of weights ran",))


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "missing.pt", "empty.pt", "nan.pt"])
def test_a_file_that_holds_no_weights_is_refused_and_nothing_in_it_runs(
    tmp_path: Path, name: str
) -> None:
    torch.save({"state_dict": {}}, tmp_path / "empty.pt")
    torch.save({"weight": torch.tensor([float("nan")])}, tmp_path / "nan.pt")
    torch.save({"state_dict": Malice()}, tmp_path / "a.pt")
    (tmp_path / "a.safetensors").write_bytes(b"no weights")
    with pytest.raises(TrainingRefused, match=r"transfer\.source"):
        transfer.open_source(name, tmp_path / name)


@pytest.mark.filterwarnings("ignore:.*pickle protocol")
@pytest.mark.parametrize("is_zip", [True, False])
@given(place=st.integers(0, 5000), value=st.integers(0, 255))
def test_a_damaged_file_of_weights_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, *, is_zip: bool, place: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    weights = {"state_dict": {"a": torch.ones(2, 2)}}
    torch.save(weights, path, _use_new_zipfile_serialization=is_zip)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    with contextlib.suppress(TrainingRefused):
        assert transfer.open_source("damaged.pt", path).weights


def test_what_is_called_a_model_and_holds_no_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"model": [1, 2]}, tmp_path / "list.pt")
    with pytest.raises(TrainingRefused, match="no weights"):
        transfer.open_source("list.pt", tmp_path / "list.pt")


@pytest.mark.parametrize("name", ["../a.pt", "/etc/a.pt", "a/../b.pt"])
def test_a_source_does_not_lead_out_of_the_folder_of_the_manifest(name: str) -> None:
    with pytest.raises(TrainingRefused, match="source"):
        recipe.check(quick_training.CLASSIFICATION | {"transfer": {"source": name}})
