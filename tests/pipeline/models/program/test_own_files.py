from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.models.program.handing import Handing
from pipeline.models.program.resolving import DEVICE, faults, resolver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "configs").mkdir()
    save_file({"code": torch.arange(3)}, tmp_path / "models/search.safetensors")
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": {"3": "spleen"}}}}}
    (tmp_path / "configs/metadata.json").write_text(json.dumps(metadata))
    return tmp_path


def resolved(folder: Path | None, name: str, **config: Any) -> Any:
    document = Document(config, folder)
    return resolver(document, given={DEVICE: torch.device("meta")}, load=Handing({})).get(name)


@pytest.mark.parametrize(
    "path", ["models/search.pt", "/elsewhere/search.pt", "../../search.pth", "search"]
)
def test_what_is_loaded_is_the_file_of_that_name_in_the_bundle(folder: Path, path: str) -> None:
    found = resolved(folder, "code", path=path, code="$torch.load(@path)['code']")
    assert found.tolist() == [0, 1, 2]


@pytest.mark.parametrize("path", ["models/other.pt", "..", "", "models", "a\0b"])
def test_there_is_nothing_else_to_load(folder: Path, path: str) -> None:
    with pytest.raises(ConfigRefused, match="holds no arrays"):
        resolved(folder, "code", path=path, code="$torch.load(@path, weights_only=False)")


def test_a_document_without_a_bundle_loads_nothing() -> None:
    with pytest.raises(ConfigRefused, match="holds no arrays"):
        resolved(None, "code", code="$torch.load('search.pt')")


def test_arrays_that_were_damaged_are_refused(folder: Path) -> None:
    (folder / "models/search.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigRefused, match="cannot be read"):
        resolved(folder, "code", code="$torch.load('search.pt')")


def test_metadata_answers_for_what_reads_it(folder: Path) -> None:
    found = resolved(
        folder,
        "labels",
        metadata_path="$@bundle_root + '/configs/metadata.json'",
        metadata="$json.loads(pathlib.Path(@metadata_path).read_text())",
        labels="$@metadata['network_data_format']['outputs']['pred']['channel_def']",
    )
    assert found == {"3": "spleen"}


def test_no_other_file_is_read_in_its_place(folder: Path) -> None:
    (folder / "secret.json").write_text('{"a": 1}')
    reads = "$json.loads(pathlib.Path(@path).read_text())"
    with pytest.raises(ConfigRefused, match="'read_text' is not one"):
        resolved(folder, "found", path=str(folder / "secret.json"), found=reads)


def test_whoever_asks_for_cuda_gets_the_device_of_the_run(folder: Path) -> None:
    asked = {"one": "$torch.device('cuda')", "two": "$torch.device('cuda:1')"}
    for name in asked:
        assert resolved(folder, name, **asked) == torch.device("meta")
    assert resolved(folder, "cpu", cpu="$torch.device('cpu')") == torch.device("cpu")
    built = {"device": {"_target_": "torch.device", "type": "cuda", "index": 1}}
    assert resolved(folder, "parts", parts=built)["device"] == torch.device("meta")


def test_what_is_loaded_and_read_is_no_fault(folder: Path) -> None:
    network = {"_target_": "UNet", "spatial_dims": "$torch.load('a.pt')['dims']"}
    config = {"network": network, "preprocessing": "$@metadata", "metadata_path": "metadata.json"}
    config["metadata"] = "$json.loads(pathlib.Path(@metadata_path).read_text())"
    assert faults(Document(config, folder)) == []
