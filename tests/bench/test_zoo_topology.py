"""The topology that the table of the Model Zoo makes up is one that a DiNTS can be built by."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.networks.nets.dints import DiNTS, TopologyInstance

from bench import zoo_topology
from pipeline.config.document import Document
from pipeline.models.intake import large_files

PATH = "models/search_code.pt"
CONFIGURATION: dict[str, Any] = {
    "arch_ckpt_path": f"$@bundle_root + '/{PATH}'",
    "arch_ckpt": "$torch.load(@arch_ckpt_path, map_location=torch.device('cuda'))",
    "dints_space": {"_target_": "TopologyInstance", "num_blocks": 12, "num_depths": 4},
}


@pytest.mark.parametrize("seed", range(20))
def test_every_path_starts_where_another_one_ended(seed: int) -> None:
    made = zoo_topology.topology(12, 4, seed=seed)
    # as MONAI's topologies of four depths number their paths
    starts, ends = (
        np.array([0, 1, 0, 1, 2, 1, 2, 3, 2, 3]),
        np.array([0, 0, 1, 1, 1, 2, 2, 2, 3, 3]),
    )
    assert made["arch_code_c"].shape == (12, 10)
    assert made["node_a"][0].all()
    for block, taken in enumerate(made["arch_code_a"].astype(bool)):
        assert taken.any()
        assert made["node_a"][block, starts[taken]].all()
        assert set(np.flatnonzero(made["node_a"][block + 1])) == set(ends[taken])


def test_a_network_is_built_by_it_and_runs() -> None:
    made = zoo_topology.topology(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space = TopologyInstance(
            arch_code=[made["arch_code_a"], made["arch_code_c"]],
            channel_mul=0.1,
            num_blocks=3,
            num_depths=2,
        )
        network = DiNTS(
            space, in_channels=1, num_classes=2, node_a=torch.from_numpy(made["node_a"])
        )
        answer = network(torch.zeros(1, 1, 16, 16, 16))
    assert answer.shape == (1, 2, 16, 16, 16)


def test_the_file_is_written_and_the_digest_of_the_one_not_brought_left_out(tmp_path: Path) -> None:
    entries = [
        {"path": PATH, "hash_type": "md5", "hash_val": "0" * 32},
        {"path": "models/model.pt"},
    ]
    (tmp_path / "large_files.yml").write_text(yaml.safe_dump({"large_files": entries}))
    made = zoo_topology.add(Document(CONFIGURATION, tmp_path), tmp_path)["arch_ckpt"]
    written = torch.load(tmp_path / PATH, weights_only=False)
    assert all(np.array_equal(written[name], values) for name, values in made.items())
    listed, faults = large_files.read(tmp_path)
    assert not faults
    assert PATH not in listed
    assert "models/model.pt" in listed


def test_nothing_is_made_up_for_other_networks(tmp_path: Path) -> None:
    assert zoo_topology.add(Document({"network_def": {"_target_": "UNet"}}), tmp_path) == {}
    assert not list(tmp_path.iterdir())
