"""Preparing cases: several at once, each once, faults all told, and nothing that hangs on order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.errors import Interrupted
from pipeline.training import classification, data, manifest, preparing, recipe, segmentation
from pipeline.training.faults import ManifestInvalid
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Input
from tests import quick_training
from tests.quick_training import write_balls, write_images, write_manifest


@pytest.fixture(params=[1, 2])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def prepared_places(folder: Path, kind: str) -> data.Prepared:
    document = {
        "classification": quick_training.CLASSIFICATION,
        "segmentation": quick_training.SEGMENTATION,
    }[kind]
    wanted = recipe.check(document)
    path = write_images(folder) if kind == "classification" else write_balls(folder, kind)
    module = classification if kind == "classification" else segmentation
    snapshot = manifest.freeze(path, wanted)
    return preparing.prepare(
        snapshot, wanted, module.preparation(wanted), folder / "kept", checkpoint=lambda: None
    )


def test_what_is_kept_is_not_read_again(tmp_path: Path) -> None:
    first = prepared_places(tmp_path, "classification")
    before = {place: (place / "image.npy").stat().st_mtime_ns for place in first.training}
    again = prepared_places(tmp_path, "classification")
    assert again == first
    assert {place: (place / "image.npy").stat().st_mtime_ns for place in before} == before


def test_half_a_prepared_case_is_prepared_again(tmp_path: Path) -> None:
    place = prepared_places(tmp_path, "classification").training[0]
    (place / "image.npy").write_bytes(b"")
    prepared_places(tmp_path, "classification")
    assert data.load(place)["image"].shape == (1, 16, 16)


def test_every_case_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    wanted = recipe.check(quick_training.CLASSIFICATION)
    for name in ("a.npy", "b.npy"):
        (tmp_path / name).write_bytes(name.encode())
    np.save(tmp_path / "c.npy", np.zeros((4, 4), np.float32))
    rows = [
        ("a.npy", "bright", "a", "train"),
        ("c.npy", "dark", "c", "train"),
        ("b.npy", "dark", "b", "test"),
    ]
    snapshot = manifest.freeze(write_manifest(tmp_path, rows), wanted)
    with pytest.raises(ManifestInvalid) as refused:
        preparing.prepare(
            snapshot,
            wanted,
            classification.preparation(wanted),
            tmp_path / "kept",
            checkpoint=lambda: None,
        )
    assert [(fault.row, fault.column) for fault in refused.value.faults] == [
        (1, "image"),
        (3, "image"),
    ]


def test_89_a_mask_that_does_not_fit_its_image_is_listed(tmp_path: Path) -> None:
    path = write_balls(tmp_path, "segmentation")
    np.save(tmp_path / "2.mask.npy", np.zeros((3, 3, 3), np.uint8))
    wanted = recipe.check(quick_training.SEGMENTATION)
    with pytest.raises(ManifestInvalid) as refused:
        preparing.prepare(
            manifest.freeze(path, wanted),
            wanted,
            segmentation.preparation(wanted),
            tmp_path / "kept",
            checkpoint=lambda: None,
        )
    assert [(fault.row, fault.column) for fault in refused.value.faults] == [(3, "label")]


@pytest.mark.parametrize(("changed", "column"), [("2.npy", "image"), ("2.mask.npy", "label")])
def test_93_a_file_that_was_changed_after_it_was_hashed_is_listed(
    tmp_path: Path, changed: str, column: str
) -> None:
    wanted = recipe.check(quick_training.SEGMENTATION)
    snapshot = manifest.freeze(write_balls(tmp_path, "segmentation"), wanted)
    np.save(tmp_path / changed, np.load(tmp_path / changed)[::-1])
    with pytest.raises(ManifestInvalid, match="changed after") as refused:
        preparing.prepare(
            snapshot,
            wanted,
            segmentation.preparation(wanted),
            tmp_path / "kept",
            checkpoint=lambda: None,
        )
    assert [(fault.row, fault.column) for fault in refused.value.faults] == [(3, column)]


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_of_an_unlabelled_case_the_image_is_kept_and_nothing_is_said_of_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recipe, "learns_from_unlabelled", property(lambda _: True))
    is_image = kind == "classification"
    path = write_images(tmp_path) if is_image else write_balls(tmp_path, kind)
    path.write_text(path.read_text().replace("validation", "unlabelled"))
    module = classification if is_image else segmentation
    wanted = recipe.check(
        quick_training.CLASSIFICATION if is_image else quick_training.SEGMENTATION
    )
    prepared = preparing.prepare(
        manifest.freeze(path, wanted),
        wanted,
        module.preparation(wanted),
        tmp_path / "kept",
        checkpoint=lambda: None,
    )
    assert not prepared.validation
    assert [set(data.load(place)) for place in prepared.unlabelled] == [{"image"}] * (
        4 if is_image else 2
    )


def test_as_many_cases_are_prepared_at_once_as_there_are_cores(tmp_path: Path, cores: int) -> None:
    wanted = recipe.check(quick_training.CLASSIFICATION)
    snapshot = manifest.freeze(write_images(tmp_path), wanted)
    assert len(snapshot.cases) % cores == 0
    plain, together = classification.preparation(wanted), threading.Barrier(cores)

    def met(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        together.wait(timeout=20)  # breaks where fewer come than there are cores
        assert torch.get_num_threads() == 1
        return plain(image, truth)

    alone = preparing.prepare(snapshot, wanted, plain, tmp_path / "a", checkpoint=lambda: None)
    beside = preparing.prepare(snapshot, wanted, met, tmp_path / "b", checkpoint=lambda: None)
    for one, other in zip(alone.training, beside.training, strict=True):
        assert one.name == other.name
        assert (one / "image.npy").read_bytes() == (other / "image.npy").read_bytes()
    assert torch.get_num_threads() == cores


def test_whoever_stops_waits_for_no_case_that_was_not_begun(tmp_path: Path, cores: int) -> None:
    wanted = recipe.check(quick_training.CLASSIFICATION)
    snapshot = manifest.freeze(write_images(tmp_path), wanted)
    plain, begun, may_end = classification.preparation(wanted), [], threading.Event()

    def noted(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        begun.append(truth)
        may_end.wait(timeout=20)
        return plain(image, truth)

    def stop() -> None:
        threading.Timer(0.2, may_end.set).start()  # those that were begun end after the stop
        raise Interrupted("asked to stop")

    with pytest.raises(Interrupted):
        preparing.prepare(snapshot, wanted, noted, tmp_path / "kept", checkpoint=stop)
    assert len(begun) < len(snapshot.cases)
