"""Every form of a classification, from its manifest to a bundle whose predictor is judged."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from pipeline.models import bundle
from pipeline.training import process
from tests import quick_training

_PARTS = ("train", "train", "train", "validation", "test")
_BASE: dict[str, Any] = quick_training.CLASSIFICATION | {
    "epochs": 10,
    "batch": 8,
    "validate_every": 5,
    "augmentation": {},
    "optimiser": {"learning_rate": 0.05},
    "evaluation": {"least_patients": 1},
}
_VOLUMES: dict[str, Any] = {
    "modalities": ["MR"],
    "spatial_dims": 3,
    "window": [0, 1],
    "size": [8, 8, 8],
}
_DENSE: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 2,
    "out_channels": 2,
    "init_features": 8,
    "growth_rate": 8,
    "block_config": [2],
}


class Quiet(process.Stop):
    """Nobody asks to stop."""

    def __init__(self) -> None:
        self.is_asked = False


def network(name: str, **arguments: Any) -> dict[str, Any]:
    shape = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "features": [4, 8]}
    return {"name": name, "arguments": shape | arguments}


def write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a manifest; arrays become files."""
    listed = []
    for number, row in enumerate(rows):
        cells = dict(row)
        for column, value in row.items():
            if isinstance(value, np.ndarray):
                cells[column] = f"{number}-{column}.npy"
                np.save(folder / cells[column], value.astype(np.float32))
        cells |= {"patient_id": f"p{number}", "split": _PARTS[number % len(_PARTS)]}
        listed.append(cells)
    path = folder / "cases.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*dict.fromkeys(key for row in listed for key in row)])
        writer.writeheader()
        writer.writerows(listed)
    return path


def trained(
    folder: Path, rows: Sequence[Mapping[str, Any]], changes: Mapping[str, Any], **order: Any
) -> dict[str, Any]:
    """Train and return the last event."""
    said: list[Mapping[str, Any]] = []
    asked = process.Order(
        recipe=_BASE | changes,
        manifest=str(write(folder, rows)),
        folder=str(folder / "work"),
        bundle=str(folder / "bundle"),
        version="1.0",
        device="cpu",
        **order,
    )
    process.run(asked, said.append, Quiet())
    return dict(said[-1])


def noise(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.uniform(0.0, 0.2, shape)


def test_any_number_of_labels(tmp_path: Path) -> None:
    random, rows = np.random.default_rng(0), []
    for number in range(40):
        dark, bright = number % 2, number // 2 % 2
        image = noise(random, 16, 16) + 0.4
        image[:8] -= 0.4 * dark
        image[8:] += 0.4 * bright
        names = [name for name, is_true in (("dark", dark), ("bright", bright)) if is_true]
        rows.append({"image": image, "label": "|".join(names) or "-"})
    changes = {
        "loss": "binary-cross-entropy",
        "options": {"activation": "sigmoid"},
        "epochs": 25,
    }
    end = trained(tmp_path, rows, changes)
    assert end["metrics"]["mean_auc"]["value"] == 1.0
    assert end["metrics"]["labels"]["dark"]["auc"]["value"] == 1.0
    assert bundle.load(tmp_path / "bundle").spec.options["activation"] == "sigmoid"


def test_the_order_of_slices(tmp_path: Path) -> None:
    """Slices that become brighter or darker: the same slices in another order."""
    random, rows = np.random.default_rng(0), []
    for number in range(40):
        steps = np.linspace(0, 0.8, 8)[:: 1 if number % 2 else -1]
        volume = noise(random, 8, 8, 8) + steps[:, None, None]
        rows.append({"image": volume, "label": ("dark", "bright")[number % 2]})
    changes = {"network": network("CNNLSTM", hidden=8), "input": _VOLUMES}
    assert trained(tmp_path, rows, changes)["metrics"]["accuracy"]["value"] == 1.0


def test_several_series_of_which_one_may_be_missing(tmp_path: Path) -> None:
    """Which way the stripes of the second run; where it is missing, nobody can know."""
    random, rows = np.random.default_rng(0), []
    for number in range(40):
        stripes = np.tile([0.0, 0.0, 0.7, 0.7], (8, 8, 2))
        row: dict[str, Any] = {
            "image": noise(random, 8, 8, 8) + 0.4,
            "image2": noise(random, 8, 8, 8) + np.moveaxis(stripes, 2, number % 2),
            "label": ("dark", "bright")[number % 2],
        }
        if number in (10, 11):
            row["image2"] = ""
        rows.append(row)
    changes = {
        "network": network("JointFusion", in_channels=2, pooling="attention", hidden=8),
        "input": _VOLUMES | {"channels": 2},
        "augmentation": {"missing": 0.1},
    }
    assert trained(tmp_path, rows, changes)["metrics"]["accuracy"]["value"] == 1.0


def test_two_series_under_attack(tmp_path: Path) -> None:
    """The second says which; nothing changes it so far that it says the other."""
    random, rows = np.random.default_rng(0), []
    for number in range(20):
        second = noise(random, 8, 8, 8) + 0.8 * (number % 2)
        row = {"image": noise(random, 8, 8, 8), "image2": second}
        rows.append(row | {"label": ("dark", "bright")[number % 2]})
    changes = {
        "network": {"name": "DenseNet", "arguments": _DENSE},
        "input": _VOLUMES | {"channels": 2},
        "evaluation": {"least_patients": 1, "robustness": {"epsilons": [0, 0.01]}},
    }
    metrics = trained(tmp_path, rows, changes)["metrics"]
    assert metrics["accuracy_under_pgd_0"] == metrics["accuracy"]
    assert metrics["accuracy_under_pgd_0.01"]["value"] == 1.0


def test_values_of_the_patient_beside_the_image(tmp_path: Path) -> None:
    """The label is an age, and the image says nothing of it."""
    random, rows = np.random.default_rng(0), []
    for number in range(40):
        age = random.integers(20, 45) + 30 * (number % 2)
        row = {"image": noise(random, 8, 8, 8), "age": str(age)}
        rows.append(row | {"label": ("dark", "bright")[number % 2]})
    changes = {
        "network": network("FiLMNet", values=1),
        "input": _VOLUMES | {"table": [{"name": "age", "mean": 45, "scale": 20}]},
    }
    assert trained(tmp_path, rows, changes)["metrics"]["accuracy"]["value"] == 1.0


def test_weights_of_another_model(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [
        {"image": noise(random, 16, 16) + 0.5 * (n % 2), "label": ("dark", "bright")[n % 2]}
        for n in range(20)
    ]
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = trained(tmp_path / "first", rows, {"epochs": 2})
    changes = {
        "epochs": 1,
        "seed": 4,
        "transfer": {"source": "quick@1.0", "frozen": [{"part": "features"}]},
    }
    sources = {"quick@1.0": str(tmp_path / "first" / "bundle")}
    trained(tmp_path / "second", rows, changes, sources=sources)
    made = tmp_path / "second" / "bundle"
    old, new = (
        load_file(tmp_path / name / "bundle" / bundle.WEIGHTS) for name in ("first", "second")
    )
    frozen = [name for name in old if name.startswith("features")]
    assert frozen
    assert all(np.array_equal(old[name], new[name]) for name in frozen)
    assert any(not np.array_equal(old[name], new[name]) for name in old)
    assert (
        f"weights of quick@1.0 (sha256 {first['digest'][:12]})" in (made / bundle.CARD).read_text()
    )
    assert first["digest"] in (made / bundle.METADATA).read_text()
