"""Weights of strangers: tensors or a sentence, whatever the bytes are."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pipeline.models.bundle import BundleRefused
from pipeline.models.intake.weights import Errand, convert
from tests.pipeline.models.intake.hostile import Harmful


def errand(path: Path, **changes: Any) -> Errand:
    plain = {"name": f"models/{path.name}", "key": None, "largest_bytes": 10**6}
    return Errand(path=path, target=path.parent / "made.safetensors", **{**plain, **changes})


def saved(folder: Path, value: Any, **options: Any) -> Path:
    path = folder / "model.pt"
    torch.save(value, path, **options)
    return path


TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}


@pytest.mark.parametrize(
    "nested",
    [
        TENSORS,
        {"state_dict": TENSORS, "epoch": 3},
        {"model": TENSORS, "optimizer": {"lr": 0.1}},
        {"mine": TENSORS, "model": {"other": torch.zeros(1)}},
        {f"module.{name}": value for name, value in TENSORS.items()},
    ],
    ids=["plain", "state_dict", "model", "key", "wrapped"],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_state_dict_is_found_where_training_loops_put_it(
    tmp_path: Path, nested: Any, *, is_zip: bool
) -> None:
    path = saved(tmp_path, nested, _use_new_zipfile_serialization=is_zip)
    shapes = convert(errand(path, key="mine"))
    assert shapes == {"a.weight": [2, 3], "a.count": []}
    made = load_file(tmp_path / "made.safetensors")
    assert all(torch.equal(made[name], value) for name, value in TENSORS.items())


def test_shared_and_strided_tensors_are_written_out(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    convert(errand(saved(tmp_path, {"t": whole.T, "row": whole[1], "same": whole})))
    made = load_file(tmp_path / "made.safetensors")
    assert torch.equal(made["t"], whole.T)
    assert torch.equal(made["row"], whole[1])


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path, TENSORS)
    convert(errand(path))
    first = (tmp_path / "made.safetensors").read_bytes()
    convert(errand(path))
    assert (tmp_path / "made.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": torch.ones(2).to_sparse()}, "a is no dense tensor"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "which is not read"),
        ({"a": torch.tensor([1.0, float("inf")])}, "a holds values that are not finite"),
        ({"a": torch.tensor(float("nan"), dtype=torch.float16)}, "values that are not finite"),
        ({"a": torch.zeros(1).expand(10**9)}, "more tensors or bytes than are allowed"),
        ({"a": torch.zeros(1), "b": 3}, "holds more than tensors by name"),
        ({1: torch.zeros(1)}, "holds more than tensors by name"),
        ({"": torch.zeros(1)}, "has no name"),
        ([1, 2], "holds no state dict"),
        ({}, "holds no state dict"),
        ({"model": {"model": TENSORS}}, "holds no state dict"),
    ],
)
def test_what_is_no_dense_finite_tensor_is_refused(
    tmp_path: Path, value: Any, sentence: str
) -> None:
    with pytest.raises(BundleRefused, match=sentence):
        convert(errand(saved(tmp_path, value)))
    assert not (tmp_path / "made.safetensors").exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_asks_for_a_function_is_refused_by_its_name(
    tmp_path: Path, *, is_zip: bool
) -> None:
    harmful = {"a": Harmful(tmp_path / "ran")}
    path = saved(tmp_path, harmful, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(BundleRefused, match=r"asks for posix.system when it is unpickled"):
        convert(errand(path))
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Harmful(tmp_path / "ran")))
    with pytest.raises(BundleRefused):
        convert(errand(path))
    assert not (tmp_path / "ran").exists()


def test_programs_under_the_name_of_weights_are_known_by_their_members(tmp_path: Path) -> None:
    for members, sentence in (
        (("m/constants.pkl", "m/data.pkl"), "is TorchScript"),
        (("m/code/__torch__.py", "m/data.pkl"), "is TorchScript"),
        (("m/archive_format", "m/models/model.json"), "is an exported program"),
    ):
        path = tmp_path / "model.pt"
        with zipfile.ZipFile(path, "w") as archive:
            for name in members:
                archive.writestr(name, b"x")
        with pytest.raises(BundleRefused, match=sentence):
            convert(errand(path))


def test_a_real_module_of_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(BundleRefused, match="is TorchScript"):
        convert(errand(path))


def safetensors_bytes(header: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


@pytest.mark.parametrize(
    "content",
    [
        safetensors_bytes(b"{}", length=2**63),
        safetensors_bytes(b"{}", length=2**64 - 1),
        safetensors_bytes(b"[" * 5000),
        safetensors_bytes(
            json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}).encode(),
            data=bytes(4),
        ),
        b"",
        b"\x80\x04",
    ],
)
def test_broken_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BundleRefused, match="not a safetensors file"):
        convert(errand(path))


def test_sound_safetensors_are_moved_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    content = path.read_bytes()
    assert convert(errand(path)) == {"a.weight": [2, 3], "a.count": []}
    assert (tmp_path / "made.safetensors").read_bytes() == content


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of torch.save."""
    return saved(tmp_path_factory.mktemp("sound"), TENSORS).read_bytes()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_never_raise_anything_but_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, sound: bytes, data: st.DataObject
) -> None:
    content = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "model.pt"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        shapes = convert(errand(path))
    except BundleRefused:
        return
    made = load_file(path.parent / "made.safetensors")
    assert {name: list(value.shape) for name, value in made.items()} == shapes
