"""A bundle is data: checked as a whole, digested to the byte, written whole or not at all."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.models import bundle, networks, weights
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.spec import Calibration, Label
from pipeline.results import Code
from tests.pipeline.models import tiny

Write = Callable[..., Bundle]


def edit(written: Bundle, change: Callable[[dict[str, Any]], None]) -> Path:
    path = written.folder / bundle.METADATA
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return written.folder


def test_what_was_written_is_what_loads(write_unet: Write) -> None:
    lung = Code(scheme="SCT", value="39607008", meaning="Lung")
    labels = (Label(number=1, name="lung", code=lung, category=lung),)
    written = write_unet(labels=labels, is_demonstration=True, options={"batch": 3})
    loaded = bundle.load(written.folder)
    assert loaded == written
    assert loaded.spec.labels == labels
    assert loaded.spec.is_demonstration
    assert loaded.spec.digest == loaded.digest == bundle.digest(written.folder)


def test_the_unit_of_a_model_is_kept_and_named_only_where_there_is_one(write_unet: Write) -> None:
    def stated(written: Bundle) -> dict[str, Any]:
        document = json.loads((written.folder / bundle.METADATA).read_text())
        return dict(document["nightshift"]["input"])

    plain = write_unet()
    assert "unit" not in stated(plain)
    suv = write_unet(seed=1, input=replace(plain.spec.input, unit="g/mL"))
    assert stated(suv)["unit"] == "g/mL"
    assert bundle.load(suv.folder).spec.input.unit == "g/mL"


def test_the_same_content_has_the_same_digest(write_unet: Write, tmp_path: Path) -> None:
    first = write_unet()
    copied = bundle.copy(first, tmp_path / "copied")
    assert copied.digest == bundle.load(copied.folder).digest == first.digest


@pytest.mark.parametrize("name", [bundle.METADATA, bundle.WEIGHTS, bundle.CARD])
def test_one_byte_changes_the_digest(write_unet: Write, name: str) -> None:
    written = write_unet()
    path = written.folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert bundle.digest(written.folder) != written.digest


def test_a_renamed_file_changes_the_digest(write_unet: Write) -> None:
    written = write_unet()
    (written.folder / "docs/a.txt").write_text("x")
    before = bundle.digest(written.folder)
    (written.folder / "docs/a.txt").rename(written.folder / "docs/b.txt")
    assert bundle.digest(written.folder) != before


@pytest.mark.parametrize("name", ["models/model.pt", "docs/innocent.txt"])
def test_a_pickle_is_refused_whatever_its_name(write_unet: Write, name: str) -> None:
    written = write_unet()
    (written.folder / name).write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(BundleRefused, match="pickle"):
        bundle.load(written.folder)


def test_a_file_of_torch_save_is_refused(write_unet: Write) -> None:
    written = write_unet()
    torch.save({"a": torch.zeros(1)}, written.folder / "models/extra.weights")
    with pytest.raises(BundleRefused, match="pickle or an archive"):
        bundle.load(written.folder)


def test_weights_that_are_no_safetensors_are_refused(write_unet: Write) -> None:
    written = write_unet()
    (written.folder / bundle.WEIGHTS).write_bytes(b"\xff" * 64)
    with pytest.raises(BundleRefused, match="not a safetensors file"):
        bundle.load(written.folder)


def test_a_link_is_refused(write_unet: Write, tmp_path: Path) -> None:
    written = write_unet()
    (tmp_path / "elsewhere").write_text("x")
    (written.folder / "docs/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleRefused, match="not a regular file"):
        bundle.load(written.folder)


def test_every_fault_is_listed(write_unet: Write) -> None:
    def spoil(document: dict[str, Any]) -> None:
        block = document["nightshift"]
        block["input"]["spacing"] = [1.0, 1.0]
        block["labels"][0]["number"] = 3
        block["network"]["arguments"]["channels"] = [10**9]
        block["network"]["arguments"]["__class__"] = "os.system"

    folder = edit(write_unet(), spoil)
    (folder / bundle.CARD).unlink()
    with pytest.raises(BundleRefused) as refused:
        bundle.load(folder)
    text = str(refused.value)
    for part in ("README.md", "input.spacing", "numbered from 1", "beyond", "'__class__'"):
        assert part in text
    assert len(refused.value.faults) == 5


def test_a_refusal_survives_the_way_back_from_a_child() -> None:
    error = BundleRefused(["one", "two"])
    again = pickle.loads(pickle.dumps(error))  # noqa: S301, our own
    assert (again.faults, again.reason, str(again)) == (error.faults, error.reason, str(error))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda b: b["network"].update(name="os.system"), "is not one of"),
        (lambda b: b["network"]["arguments"].update(out_channels=5), "ask for 2"),
        (lambda b: b["input"].update(surprise=1), "surprise"),
        (lambda b: b["options"].update(dtype="float16"), "dtype"),
        (lambda b: b["input"].update(orientation="RAA"), "orientation"),
        (lambda b: b["input"].update(window=[5, 5]), "window"),
        (lambda b: b.update(kind="detection"), "not for detection"),
        (lambda b: b.update(network=None), "needs a network"),
        (lambda b: b.update(name="../up"), "name"),
    ],
)
def test_metadata_that_does_not_hold_together_is_refused(
    write_unet: Write, change: Callable[[dict[str, Any]], None], fault: str
) -> None:
    folder = edit(write_unet(), lambda document: change(document["nightshift"]))
    with pytest.raises(BundleRefused, match=fault):
        bundle.load(folder)


def test_weights_of_another_network_are_refused(write_unet: Write) -> None:
    folder = edit(
        write_unet(), lambda d: d["nightshift"]["network"]["arguments"].update(channels=[8, 16])
    )
    with pytest.raises(BundleRefused, match="size mismatch"):
        weights.load(bundle.load(folder))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = networks.build("UNet", tiny.UNET).state_dict()
    next(iter(state.values())).fill_(float("nan"))
    written = bundle.write(tmp_path / "nan", tiny.unet_spec(), weights=state, card="#")
    with pytest.raises(BundleRefused, match="not finite"):
        weights.load(written)


def test_what_would_not_load_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused):
        bundle.write(tmp_path / "bad", tiny.unet_spec(), weights=None, card="#")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_never_overwritten(write_unet: Write) -> None:
    write_unet()
    with pytest.raises(FileExistsError):
        write_unet()


def test_a_file_cannot_lead_out_of_the_bundle(tmp_path: Path) -> None:
    state = networks.build("UNet", tiny.UNET).state_dict()
    with pytest.raises(BundleRefused, match="leads out"):
        bundle.write(
            tmp_path / "x", tiny.unet_spec(), weights=state, card="#", files={"../y": b"z"}
        )
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("name", ["threshold-lung", "threshold-body"])
def test_the_shipped_rules_load(name: str) -> None:
    loaded = bundle.load(Path(__file__).parents[3] / "models" / name)
    assert loaded.spec.name == name
    assert loaded.weights is None


def _as_program(document: dict[str, Any]) -> None:
    block = document["nightshift"]
    del block["network"]
    block["program"] = "configs/inference.json"
    block["options"] = {}


def test_a_bundle_may_state_its_network_in_a_program(write_unet: Write) -> None:
    folder = edit(write_unet(), _as_program)
    (folder / "configs/inference.json").write_text("{}")
    spec = bundle.load(folder).spec
    assert (spec.network, spec.program) == (None, "configs/inference.json")


def test_a_program_that_is_not_there_is_refused(write_unet: Write) -> None:
    folder = edit(write_unet(), _as_program)
    with pytest.raises(BundleRefused, match=r"configs/inference\.json is missing"):
        bundle.load(folder)


@pytest.mark.parametrize("path", ["../inference.json", "/etc/passwd.json", "configs/a/b.json"])
def test_a_program_lies_among_the_configurations_of_its_bundle(
    write_unet: Write, path: str
) -> None:
    def lead_away(document: dict[str, Any]) -> None:
        _as_program(document)
        document["nightshift"]["program"] = path

    with pytest.raises(BundleRefused, match="program"):
        bundle.load(edit(write_unet(), lead_away))


def test_a_network_and_a_program_do_not_go_together(write_unet: Write) -> None:
    def add(document: dict[str, Any]) -> None:
        document["nightshift"]["program"] = "configs/inference.json"
        document["nightshift"]["options"] = {}

    with pytest.raises(BundleRefused, match="a program states its own network"):
        bundle.load(edit(write_unet(), add))


def test_a_restoration_model_answers_with_an_image_and_has_no_labels(write_unet: Write) -> None:
    def restore(document: dict[str, Any]) -> None:
        block = document["nightshift"]
        block["kind"] = "restoration"
        block["options"] = {"scale": 2}

    with pytest.raises(BundleRefused, match="has no label"):
        bundle.load(edit(write_unet(), restore))


def test_a_calibration_stays_with_the_version(write_unet: Write) -> None:
    kept = Calibration(temperature=1.5)
    written = write_unet(calibration=kept)
    assert bundle.load(written.folder).spec.calibration == kept
    path = edit(written, lambda d: d["nightshift"]["calibration"].update(scores=[0.3, 0.2]))
    with pytest.raises(BundleRefused) as refused:
        bundle.load(path)
    said = "; ".join(refused.value.faults)
    assert "calibration.scores are of a classification by softmax" in said
    assert "calibration.scores rise" in said


def test_a_calibration_makes_another_version_of_the_same_weights(
    write_unet: Write, tmp_path: Path
) -> None:
    written, kept = write_unet(), Calibration(temperature=2.0)
    made = bundle.calibrated(written, tmp_path / "next", kept, version="2")
    assert made == bundle.load(tmp_path / "next")
    assert (made.spec.version, made.spec.calibration) == ("2", kept)
    assert made.digest != written.digest
    old, new = (one.folder / bundle.WEIGHTS for one in (written, made))
    assert old.read_bytes() == new.read_bytes()
    wrong = Calibration(scores=(0.1, 0.2))
    with pytest.raises(BundleRefused, match="classification by softmax"):
        bundle.calibrated(written, tmp_path / "wrong", wrong, version="3")
    assert not (tmp_path / "wrong").exists()
