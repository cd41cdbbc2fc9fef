"""Bundles of strangers at the desk: each bad one is refused with a reason, recorded, and not kept.

The numbers are those of the list of bad inputs that the system is held against.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from pipeline.models import bundle
from pipeline.models.bundle import BundleRefused
from pipeline.models.intake import weights
from pipeline.models.intake.brought import IntakeLimits
from pipeline.models.intake.deriving import Stated
from pipeline.models.intake.weights import Errand
from pipeline.reasons import Reason
from records import audit, database, models
from records.base import Stage
from records.tables import AuditRecord, ModelVersion
from tests.pipeline.models.intake import made
from tests.pipeline.models.intake.hostile import Harmful
from worker import registering
from worker.registering import Desk, is_older
from worker.store import Store

Refused = Callable[[Path], str]


def convert(errand: Errand, limits: IntakeLimits) -> dict[str, list[int]]:
    """Read weights in this process; the one apart has tests of its own."""
    return weights.convert(errand)


@pytest.fixture
def records(sqlite_url: str) -> sessionmaker[Session]:
    """Empty records."""
    return database.session_factory(database.connect(sqlite_url))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store", reserve_bytes=0)


@pytest.fixture
def desk(records: sessionmaker[Session], store: Store) -> Desk:
    """The desk at which bundles are registered."""
    return Desk(records, store, by="tester", convert=convert)


@pytest.fixture
def refused(
    desk: Desk,
    store: Store,
    records: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Refused:
    """Return a function that brings a bad bundle, checks what must hold, and returns the faults."""
    monkeypatch.setattr(registering, "take_in", in_this_process)

    def brought(path: Path) -> str:
        with pytest.raises(BundleRefused) as error:
            desk.register(path, Stated())
        assert error.value.reason is Reason.MODEL_BUNDLE_REFUSED
        assert kept(store) == []
        with database.reading(records) as session:
            assert session.scalars(select(ModelVersion)).all() == []
            last = session.scalars(select(AuditRecord)).all()[-1]
        outcome = last.event_outcome_indicator
        assert (last.event_id, outcome) == ("model.refused", audit.MINOR_FAILURE)
        told = "\n".join(error.value.faults)
        assert checked(path, capsys) == error.value.faults
        assert str(path) not in told
        return told

    return brought


def in_this_process(*words: Any, **options: Any) -> Any:
    """Take a bundle in as ``check`` does, but read its weights here."""
    from pipeline.models.intake.taking import take_in

    return take_in(*words, **{"convert": convert, **options})


def checked(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the faults that ``models check`` tells."""
    words = argparse.Namespace(
        path=path, name=None, title=None, kind=None, modality=[], label=[], activation=None
    )
    status = registering.check_model(words)
    said = json.loads(capsys.readouterr().out)
    assert (status, said["reason"]) == (1, "model.bundle_refused")
    faults: list[str] = said["faults"]
    return faults


def kept(store: Store) -> list[Path]:
    """Return what a store holds of bundles, whole or half made."""
    return [*(store.root / "bundles").iterdir(), *(store.root / "temporary").iterdir()]


def test_case_73_a_pickle_with_os_system(tmp_path: Path, refused: Refused) -> None:
    harmful = {"weight": Harmful(tmp_path / "ran")}
    told = refused(made.write(tmp_path / "brought", weights=harmful))
    assert "models/model.pt asks for posix.system when it is unpickled" in told
    assert not (tmp_path / "ran").exists()


def test_case_74_an_exported_program(tmp_path: Path, refused: Refused) -> None:
    brought = made.write(tmp_path / "brought")
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    (brought / "models/model.pt").unlink()
    torch.export.save(program, brought / "models/model.pt2")
    assert "models/model.pt2 is an exported program" in refused(brought)
    (brought / "models/model.pt2").rename(brought / "models/model.pt")
    assert "models/model.pt is an exported program" in refused(brought)


def test_case_75_a_state_dict_of_other_shapes(tmp_path: Path, refused: Refused) -> None:
    state = made.state()
    name, value = next(iter(state.items()))
    state[name] = torch.zeros(*value.shape, 1)
    told = refused(made.write(tmp_path / "brought", weights=state))
    shape = list(value.shape)
    assert (
        told
        == f"weights of another shape than the network's: {name} {[*shape, 1]} instead of {shape}"
    )


def test_case_76_names_that_are_missing_or_too_many(tmp_path: Path, refused: Refused) -> None:
    state = made.state()
    first = next(iter(state))
    del state[first]
    state |= {f"extra.{number}": torch.zeros(1) for number in range(7)}
    told = refused(made.write(tmp_path / "brought", weights=state)).splitlines()
    assert told[0] == f"the weights lack what the network has: {first}"
    assert told[1].endswith("extra.0, extra.1, extra.2, extra.3, extra.4 and 2 more")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_case_77_weights_that_are_not_finite(
    tmp_path: Path, refused: Refused, value: float, form: str
) -> None:
    state = made.state()
    name = next(iter(state))
    state[name] = torch.full_like(state[name], value)
    brought = made.write(tmp_path / "brought", weights=state)
    if form == "safetensors":
        (brought / "models/model.pt").unlink()
        save_file(state, brought / bundle.WEIGHTS)
    assert f"{name} holds values that are not finite" in refused(brought)


def test_case_78_a_digest_that_does_not_match(tmp_path: Path, refused: Refused) -> None:
    brought = made.write(tmp_path / "brought")
    entry = {"path": "models/model.pt", "hash_type": "sha256", "hash_val": "0" * 64}
    (brought / "large_files.yml").write_text(yaml.safe_dump({"large_files": [entry]}))
    told = "models/model.pt has another sha256 than large_files states: download it again"
    assert refused(brought) == told


def test_case_79_a_header_of_safetensors_of_2_to_the_63(tmp_path: Path, refused: Refused) -> None:
    brought = made.write(tmp_path / "brought")
    (brought / bundle.WEIGHTS).write_bytes(struct.pack("<Q", 2**63) + b"{}")
    assert "models/model.safetensors is not a safetensors file" in refused(brought)


@pytest.mark.parametrize("where", ["inferer.roi_size", "initialize"])
def test_case_80_a_configuration_that_imports(tmp_path: Path, refused: Refused, where: str) -> None:
    text = f"$__import__('os').system('touch {tmp_path / 'ran'}')"
    inference = made.changed(made.INFERENCE, where, text)
    told = refused(made.write(tmp_path / "brought", inference=inference))
    assert f"{where.replace('.', '::')}: the expression asks for '__import__'" in told
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("where", ["network_def", "inferer", "handlers"])
def test_case_81_a_target_that_is_os_system(tmp_path: Path, refused: Refused, where: str) -> None:
    item = {"_target_": "os.system", "command": f"touch {tmp_path / 'ran'}"}
    inference = made.changed(made.INFERENCE, where, item)
    told = refused(made.write(tmp_path / "brought", inference=inference))
    assert f"{where}: the _target_ 'os.system' is a part of Python" in told
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("network_data_format.inputs.image.spatial_shape", ["__import__('os').system('true')"]),
        ("network_data_format.inputs.image.spatial_shape", ["[x for x in (1).__class__]"]),
        ("description", "$__import__('os').system('true')"),
    ],
)
def test_case_82_metadata_that_ask_to_be_evaluated(
    tmp_path: Path, refused: Refused, where: str, value: Any
) -> None:
    metadata = made.changed(made.METADATA, where, value)
    assert "metadata.json: " in refused(made.write(tmp_path / "brought", metadata=metadata))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "a: !!python/object/apply:os.system ['true']\n",
        "a: !!python/name:os.system\n",
        "[" * 5000,
        "a: 1\n<<: {b: 2}\n",
    ],
)
def test_case_83_yaml_of_tags_and_anchors(tmp_path: Path, refused: Refused, text: str) -> None:
    brought = made.write(tmp_path / "brought")
    (brought / "configs/inference.json").unlink()
    (brought / "configs/inference.yaml").write_text(text)
    assert "YAML" in refused(brought) or "inference.yaml" in refused(brought)


def test_case_84_a_version_is_never_used_for_other_bytes(
    tmp_path: Path, desk: Desk, records: sessionmaker[Session], store: Store
) -> None:
    brought = made.write(tmp_path / "brought")
    first = desk.register(brought, Stated())
    assert (first["stage"], desk.register(brought, Stated())) == ("candidate", first)
    (brought / "docs/README.md").write_text("# Another card\n")
    with pytest.raises(BundleRefused, match="is registered already, for other bytes"):
        desk.register(brought, Stated())
    with database.reading(records) as session:
        (row,) = session.scalars(select(ModelVersion)).all()
        events = [record.event_id for record in session.scalars(select(AuditRecord))]
    assert row.digest == first["digest"]
    assert events == ["model.registered", "model.refused"]


def test_case_84_an_older_version_does_not_become_active_in_passing(
    tmp_path: Path, desk: Desk, records: sessionmaker[Session]
) -> None:
    newer = made.write(tmp_path / "newer", metadata={**made.METADATA, "version": "0.10.0"})
    older = made.write(tmp_path / "older", metadata={**made.METADATA, "version": "0.9.9"})
    assert desk.register(newer, Stated(), promote="the first")["stage"] == "active"
    with pytest.raises(BundleRefused, match=r"0.10.0 is active, which is later than 0.9.9"):
        desk.register(older, Stated(), promote="a mistake")
    with database.reading(records) as session:
        active = models.active(session, "spleen-in-ct")
        assert active is not None
        assert active.version == "0.10.0"
        assert models.find(session, "spleen-in-ct", "0.9.9") is None
    assert desk.register(older, Stated())["stage"] == "candidate"


def test_what_is_registered_lies_whole_in_the_store(
    tmp_path: Path, desk: Desk, store: Store, records: sessionmaker[Session]
) -> None:
    archive = made.zipped(made.write(tmp_path / "brought"), tmp_path / "brought.zip", top="a/")
    said = desk.register(archive, Stated(name="milz"), promote="tried")
    folder = store.bundle_path(said["digest"])
    assert kept(store) == [folder]
    loaded = bundle.load(folder)
    assert (loaded.digest, loaded.spec.name) == (said["digest"], "milz")
    with database.reading(records) as session:
        row = models.get(session, "milz", "0.3.1")
    assert (row.stage, row.kind, row.path) == (Stage.ACTIVE, "segmentation", str(folder))
    assert row.metrics == {"mean_dice": 0.5}
    assert row.bundle_metadata["nightshift_intake"]["weights"]["file"] == "models/model.pt"
    assert desk.register(archive, Stated(name="milz"), promote="again")["stage"] == "active"


@pytest.mark.parametrize(
    ("version", "than", "answer"),
    [
        ("0.9.9", "0.10.0", True),
        ("1", "1.0", True),
        ("2", "1.9", False),
        ("1.0", "1.0", False),
        ("1.0-rc1", "1.0", False),
        ("abc", "abd", False),
    ],
)
def test_versions_of_numbers_are_compared_as_numbers(
    version: str, than: str, *, answer: bool
) -> None:
    assert is_older(version, than) is answer
