"""A configuration that loads arrays itself, as bundles of DiNTS load the topology they found."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.networks.nets.dints import DiNTS, TopologyInstance

from pipeline.models import arrays, predictors
from pipeline.models.bundle import METADATA
from pipeline.models.devices import Device
from pipeline.models.intake.taking import Taken
from tests.pipeline.models.intake import made

Take = Callable[..., Taken]
Faults = Callable[..., str]

#: all four paths between two depths, in one block, by the second of five operations
CODE = {
    "arch_code_a": np.ones((1, 4)),
    "arch_code_c": np.ones((1, 4), dtype=np.int64),
    "node_a": np.ones((2, 2), dtype=np.int64),
    "best_dsc": np.float64(0.8),
}
SIZES: dict[str, Any] = {"channel_mul": 0.1, "num_blocks": 1, "num_depths": 2}
INFERENCE = {
    **made.INFERENCE,
    "arch_ckpt_path": "$@bundle_root + '/models/search_code.pt'",
    "arch_ckpt": "$torch.load(@arch_ckpt_path, map_location=torch.device('cuda'))",
    "dints_space": {
        "_target_": "monai.networks.nets.TopologyInstance",
        **SIZES,
        "use_downsample": True,
        "arch_code": ["$@arch_ckpt['arch_code_a']", "$@arch_ckpt['arch_code_c']"],
        "device": "$torch.device('cuda')",
    },
    "network_def": {
        "_target_": "monai.networks.nets.DiNTS",
        "dints_space": "@dints_space",
        "in_channels": 1,
        "num_classes": 2,
        "use_downsample": True,
        "node_a": "$torch.from_numpy(@arch_ckpt['node_a'])",
    },
}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    space = TopologyInstance(arch_code=[CODE["arch_code_a"], CODE["arch_code_c"]], **SIZES)
    nodes = torch.from_numpy(CODE["node_a"])
    network = DiNTS(dints_space=space, in_channels=1, num_classes=2, node_a=nodes)
    state: dict[str, torch.Tensor] = network.state_dict()
    return state


@pytest.fixture
def brought(tmp_path: Path, weights: dict[str, torch.Tensor]) -> Path:
    folder = made.write(tmp_path / "brought", inference=INFERENCE, weights=weights)
    torch.save(CODE, folder / "models/search_code.pt")
    return folder


def test_the_topology_is_converted_and_the_network_built_by_it(
    brought: Path, take: Take, weights: dict[str, torch.Tensor]
) -> None:
    taken = take(brought)
    folder = taken.bundle.folder
    found = arrays.read(folder / "models/search_code.safetensors")
    assert found.keys() == CODE.keys() - {"best_dsc"}
    assert "models/search_code.pt" not in taken.left_out
    account = json.loads((folder / METADATA).read_text())["nightshift_intake"]
    assert list(account["arrays"]) == ["models/search_code.pt"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor: Any = predictors.open(taken.bundle, device=Device("cpu"))
    state = predictor._network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in weights.items())


def test_a_bundle_taken_in_once_is_taken_in_again_to_the_byte(brought: Path, take: Take) -> None:
    first = take(brought).bundle
    assert take(first.folder).bundle.digest == first.digest


def test_a_file_that_is_loaded_must_be_there(brought: Path, faults: Faults) -> None:
    (brought / "models/search_code.pt").unlink()
    assert "models/search_code.pt is missing; the configuration loads it" in faults(brought)


def test_a_file_that_is_loaded_is_held_against_the_digest_that_is_stated(
    brought: Path, faults: Faults
) -> None:
    entry = {"path": "models/search_code.pt", "hash_type": "md5", "hash_val": "0" * 32}
    (brought / "large_files.yml").write_text(yaml.safe_dump({"large_files": [entry]}))
    assert "models/search_code.pt has another md5" in faults(brought)


def test_a_file_that_lacks_what_the_configuration_asks_of_it_is_refused(
    brought: Path, faults: Faults
) -> None:
    torch.save({"arch_code_a": np.ones((1, 4))}, brought / "models/search_code.pt")
    assert "arch_code_c" in faults(brought)
