"""What is brought becomes a bundle of our form, from a folder as from a ZIP; or is told why not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import models
from pipeline.models import bundle
from pipeline.models.intake.deriving import Stated
from pipeline.models.intake.taking import Taken
from pipeline.models.spec import Kind, Label
from tests.pipeline.models.intake import made

Take = Callable[..., Taken]
Faults = Callable[..., str]


def test_a_bundle_of_monai_becomes_one_of_ours(brought: Path, take: Take) -> None:
    taken = take(brought)
    spec = taken.bundle.spec
    assert (spec.name, spec.version, spec.kind) == ("spleen-in-ct", "0.3.1", Kind.SEGMENTATION)
    assert spec.program == "configs/inference.json"
    assert spec.labels == (Label(number=1, name="spleen"),)
    assert (spec.input.modalities, spec.input.spatial_dims, spec.input.channels) == (("CT",), 3, 1)
    assert bundle.load(taken.bundle.folder) == taken.bundle
    kept = {path.relative_to(taken.bundle.folder).as_posix() for path in files(taken)}
    assert kept == {
        "LICENSE",
        "configs/inference.json",
        "configs/metadata.json",
        "docs/README.md",
        "models/model.safetensors",
    }
    weights = load_file(taken.bundle.folder / bundle.WEIGHTS)
    assert weights.keys() == made.state().keys()
    assert all(torch.equal(weights[name], value) for name, value in made.state().items())


def test_what_was_left_out_and_converted_is_said_and_kept_in_the_metadata(
    brought: Path, take: Take
) -> None:
    taken = take(brought)
    assert list(taken.left_out) == ["scripts/__init__.py"]
    assert "never runs" in taken.left_out["scripts/__init__.py"]
    account = json.loads((taken.bundle.folder / bundle.METADATA).read_text())["nightshift_intake"]
    sha256 = hashlib.sha256((brought / "models/model.pt").read_bytes()).hexdigest()
    assert account["weights"] == {"file": "models/model.pt", "sha256": sha256}
    assert account["left_out"] == taken.left_out


@pytest.mark.parametrize("top", ["", "spleen-0.3.1/"])
def test_a_zip_gives_the_same_digest_as_the_folder(
    brought: Path, take: Take, tmp_path: Path, top: str
) -> None:
    archive = made.zipped(brought, tmp_path / "spleen.zip", top=top)
    assert take(archive).bundle.digest == take(brought).bundle.digest


@pytest.mark.parametrize(
    "name", ["threshold-lung", "classical-ct-bone", "demo-ct-nodule-segmentation"]
)
def test_a_bundle_of_our_form_stays_as_it_is_to_the_byte(take: Take, name: str) -> None:
    folder = Path(models.__path__[0]) / name
    assert take(folder).bundle.digest == bundle.load(folder).digest


def test_the_configuration_may_be_yaml(brought: Path, take: Take) -> None:
    (brought / "configs/inference.json").unlink()
    (brought / "configs/inference.yaml").write_text(yaml.safe_dump(dict(made.INFERENCE)))
    assert take(brought).bundle.spec.program == "configs/inference.yaml"


def test_safetensors_are_taken_as_they_are_and_before_a_pickle(brought: Path, take: Take) -> None:
    save_file(made.state(), brought / bundle.WEIGHTS)
    (brought / "models/model.pt").write_bytes(b"never opened")
    taken = take(brought)
    kept = (taken.bundle.folder / bundle.WEIGHTS).read_bytes()
    assert kept == (brought / bundle.WEIGHTS).read_bytes()
    assert "models/model.pt" in taken.left_out


def test_what_a_person_states_goes_before_the_metadata(brought: Path, take: Take) -> None:
    stated = Stated(name="milz", title="Milz", modalities=("CT", "PT"), labels=("milz",))
    spec = take(brought, stated=stated).bundle.spec
    assert (spec.name, spec.title, spec.labels[0].name) == ("milz", "Milz", "milz")
    assert spec.input.modalities == ("CT", "PT")
    again = take(take(brought).bundle.folder, stated=stated).bundle.spec
    assert (again.name, again.labels, again.input) == (spec.name, spec.labels, spec.input)


def test_what_is_brought_stays_as_it_is(brought: Path, take: Take) -> None:
    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in brought.rglob("*") if path.is_file()}

    before = content()
    take(brought)
    assert content() == before


def test_exports_beside_weights_are_left_out_unopened(brought: Path, take: Take) -> None:
    for name in ("model.ts", "model.onnx", "model.pt2", "model.plan"):
        (brought / "models" / name).write_bytes(b"not looked at")
    left_out = take(brought).left_out
    assert "TorchScript" in left_out["models/model.ts"]
    assert "not run here yet" in left_out["models/model.onnx"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.ts", "models/model.ts is TorchScript, a program"),
        ("model.pt2", "models/model.pt2 is an exported program (.pt2)"),
        ("model.onnx", "models/model.onnx is ONNX, which is not run here yet"),
        ("model.engine", "models/model.engine is compiled for one device"),
    ],
)
def test_exports_alone_are_refused_each_with_its_sentence(
    brought: Path, faults: Faults, name: str, sentence: str
) -> None:
    (brought / "models/model.pt").rename(brought / "models" / name)
    assert sentence in faults(brought)


def test_onnx_that_needs_operators_of_others_names_them(brought: Path, faults: Faults) -> None:
    (brought / "models/model.pt").unlink()
    (brought / "models/model.onnx").write_bytes(b"\x08\x08\x42\x0d\x0a\x09com.acme.\x10\x01")
    assert "needs operators of com.acme." in faults(brought)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("docs/notes.pkl", "is a pickle"),
        ("models/forest.joblib", "is a pickle"),
        ("configs/table.npy", "is a NumPy file"),
        ("docs/more.zip", "is an archive inside the bundle"),
    ],
)
def test_what_may_hold_pickles_is_refused_wherever_it_lies(
    brought: Path, faults: Faults, name: str, sentence: str
) -> None:
    (brought / name).write_bytes(b"")
    assert sentence in faults(brought)


def test_code_under_an_innocent_name_is_found_by_its_first_bytes(
    brought: Path, take: Take, faults: Faults
) -> None:
    (brought / "docs/tool.txt").write_bytes(b"\x7fELF\x02\x01\x01\0")
    assert "docs/tool.txt" in take(brought).left_out
    (brought / "docs/notes.md").write_bytes(b"\x80\x04\x95\0\0\0\0\0")
    assert "'docs/notes.md' is a pickle" in faults(brought)


def test_weights_that_are_kept_elsewhere_must_be_downloaded_first(
    brought: Path, faults: Faults
) -> None:
    (brought / "models/model.pt").unlink()
    assert faults(brought) == "models/model.pt is missing; it holds the weights"
    listed = {"large_files": [{"path": "models/model.pt", "url": "https://example.org/w"}]}
    (brought / "large_files.yml").write_text(yaml.safe_dump(listed))
    assert "download it into models/ first" in faults(brought)


@pytest.mark.parametrize("kind", ["md5", "sha1", "SHA256"])
def test_weights_are_held_against_the_digest_that_is_stated(
    brought: Path, take: Take, faults: Faults, kind: str
) -> None:
    right = hashlib.new(kind.lower(), (brought / "models/model.pt").read_bytes()).hexdigest()

    def state(digest: str) -> None:
        entry = {"path": "models/model.pt", "hash_type": kind, "hash_val": digest}
        (brought / "large_files.yml").write_text(yaml.safe_dump({"large_files": [entry]}))

    state(right)
    take(brought)
    state("0" * len(right))
    assert f"has another {kind.lower()} than large_files states" in faults(brought)


def test_a_configuration_of_several_networks_is_out_of_scope(
    tmp_path: Path, faults: Faults
) -> None:
    second = {**made.INFERENCE["checkpointloader"], "load_path": "$@bundle_root + '/models/b.pt'"}
    brought = made.write(tmp_path / "two", inference={**made.INFERENCE, "second": second})
    assert "loads the weights of several networks" in faults(brought)


def test_two_configurations_leave_it_open_which_one_runs(brought: Path, faults: Faults) -> None:
    (brought / "configs/inference.yaml").write_text("a: 1\n")
    assert "are both there; keep the one" in faults(brought)


def test_the_weights_that_the_configuration_names_are_the_ones(tmp_path: Path, take: Take) -> None:
    inference = made.changed(made.INFERENCE, "checkpointloader.load_path", "@ckpt")
    inference["ckpt"] = "$os.path.join(@bundle_root, 'models', 'best.pth')"
    brought = made.write(tmp_path / "named", inference=inference)
    (brought / "models/model.pt").rename(brought / "models/best.pth")
    (brought / "models/model.pt").write_bytes(b"an older one")
    taken = take(brought)
    assert "models/model.pt" in taken.left_out
    assert taken.bundle.weights is not None


def test_every_fault_is_told_at_once(tmp_path: Path, faults: Faults) -> None:
    metadata = made.changed(made.METADATA, "network_data_format.inputs.image.modality", "n/a")
    metadata = made.changed(metadata, "network_data_format.inputs.image.num_channels", 3)
    inference = made.changed(made.INFERENCE, "inferer._target_", "NoSuchInferer")
    broken = {**made.state(), "extra": torch.zeros(1)}
    broken.popitem()
    broken["model.0.conv.unit0.conv.bias"] = torch.tensor(float("nan"))
    told = faults(
        made.write(tmp_path / "spoiled", metadata=metadata, inference=inference, weights=broken)
    )
    for part in ("--modality", "in_channels 1", "NoSuchInferer", "not finite"):
        assert part in told


def files(taken: Taken) -> list[Path]:
    return [path for path in taken.bundle.folder.rglob("*") if path.is_file()]


def test_a_configuration_whose_parts_cannot_be_built_is_refused(
    tmp_path: Path, faults: Faults
) -> None:
    inference = made.changed(made.INFERENCE, "inferer.mode", "no such mode")
    told = faults(made.write(tmp_path / "mode", inference=inference))
    assert told.startswith("inferer: ")
    assert "no such mode" in told
