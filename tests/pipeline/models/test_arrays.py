from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.models import arrays
from pipeline.models.bundle import BundleRefused
from pipeline.models.intake.weights import Errand, convert
from tests.pipeline.models.intake.hostile import Harmful

CODE = {
    "node_a": np.array([[1, 0], [1, 1]]),
    "arch_code_a": np.array([[1.0, 0.0, 1.0]]),
    "arch_code_c": np.array([[2, 0, 4]], dtype=np.int32),
    "big_endian": np.array([1.5, -2.0], dtype=">f4"),
    "mask": np.array([True, False]),
    "single": np.array(3.5),
    "kept": torch.arange(4.0),
}
#: what training loops put beside arrays
BESIDE = {"iter_num": 18590, "best_dsc": np.float64(0.8), "best_path": "a", "epochs": [1, 2]}


def errand(path: Path, *, is_aside: bool = True) -> Errand:
    return Errand(
        path=path,
        name="models/search.pt",
        target=path.parent / "made.safetensors",
        key=None,
        largest_bytes=10**6,
        is_aside=is_aside,
    )


def saved(folder: Path, value: Any, *, is_zip: bool = True) -> Path:
    path = folder / "search.pt"
    torch.save(value, path, _use_new_zipfile_serialization=is_zip)
    return path


@pytest.mark.parametrize("is_zip", [True, False])
def test_arrays_and_tensors_come_back_as_they_were_and_nothing_else_does(
    tmp_path: Path, *, is_zip: bool
) -> None:
    shapes = convert(errand(saved(tmp_path, {**CODE, **BESIDE}, is_zip=is_zip)))
    found = arrays.read(tmp_path / "made.safetensors")
    assert shapes == {name: list(value.shape) for name, value in CODE.items()}
    assert found.keys() == CODE.keys()
    for name, value in CODE.items():
        assert type(found[name]) is type(value)
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype.newbyteorder("=")
            np.testing.assert_array_equal(found[name], value)
    assert torch.equal(found["kept"], CODE["kept"])


def test_files_of_numpy_1_are_read_too(tmp_path: Path) -> None:
    path = saved(tmp_path, {**CODE, **BESIDE}, is_zip=False)
    new = path.read_bytes()
    assert b"numpy._core.multiarray" in new
    path.write_bytes(new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    convert(errand(path))
    found = arrays.read(tmp_path / "made.safetensors")
    np.testing.assert_array_equal(found["node_a"], CODE["node_a"])


@pytest.mark.parametrize(
    "array",
    [
        np.array([None, "a"], dtype=object),
        np.array(["text"]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
        np.array([1], dtype="datetime64[s]"),
        np.array([1j]),
    ],
    ids=["objects", "text", "records", "times", "complex"],
)
def test_arrays_of_something_else_than_numbers_are_refused(
    tmp_path: Path, array: np.ndarray[Any, Any]
) -> None:
    with pytest.raises(BundleRefused, match=r"models/search\.pt"):
        convert(errand(saved(tmp_path, {"array": array})))
    assert not (tmp_path / "made.safetensors").exists()


@pytest.mark.parametrize(
    "inside", [lambda one: one, lambda one: {"a": one}, lambda one: np.array([one], dtype=object)]
)
def test_code_in_the_file_does_not_run(tmp_path: Path, inside: Any) -> None:
    path = saved(tmp_path, inside(Harmful(tmp_path / "ran")))
    with pytest.raises(BundleRefused, match=r"models/search\.pt"):
        convert(errand(path))
    assert not (tmp_path / "ran").exists()


def test_arrays_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="not finite"):
        convert(errand(saved(tmp_path, {"code": np.array([1.0, np.nan])})))


@pytest.mark.parametrize("value", [[np.zeros(3)], np.zeros(3), {"epochs": 3}])
def test_a_file_without_arrays_by_name_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(BundleRefused, match="holds no"):
        convert(errand(saved(tmp_path, value)))


def test_weights_still_hold_tensors_only(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="asks for numpy"):
        convert(errand(saved(tmp_path, CODE), is_aside=False))


@pytest.mark.parametrize("name", ["search.pt", "search.safetensors", "../../a/search.pth"])
def test_a_name_has_one_place_in_the_bundle(tmp_path: Path, name: str) -> None:
    assert arrays.place(tmp_path, name) == tmp_path / "models/search.safetensors"
