"""The tables against the libraries that are installed."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from monai import inferers, transforms
from monai.networks import nets

from pipeline.config.tables.entry import Kind
from pipeline.config.tables.lookup import _by_full_name, find, find_target, purpose
from pipeline.config.tables.ours import OURS

_ROWS = {entry.name: entry for entry in _by_full_name().values()}


def test_every_row_is_there() -> None:
    missing = []
    for name, entry in _ROWS.items():
        try:
            entry.load()
        except (ImportError, AttributeError):
            missing.append(name)
    assert len(_ROWS) > 600
    assert missing == []


def test_every_network_is_kept_from_fetching_weights() -> None:
    held = 0
    for entry in _ROWS.values():
        if entry.kind is not Kind.NETWORK:
            continue
        parameters = inspect.signature(entry.load()).parameters
        takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for name in parameters:
            if "pretrained" in name or name in {"weights", "checkpoint", "url", "download"}:
                assert name in entry.fixed, f"{entry.name} {name}"
                held += 1
        assert takes_more or set(entry.fixed) <= set(parameters), entry.name
    assert held > 60


def test_no_inferer_of_windows_draws_a_bar() -> None:
    silent = 0
    for entry in _ROWS.values():
        if entry.kind is Kind.INFERER and issubclass(entry.load(), inferers.SlidingWindowInferer):
            assert entry.fixed == {"progress": False}, entry.name
            silent += 1
    assert silent == 4


def test_every_placeholder_says_what_it_does() -> None:
    placeholders = [entry for entry in _ROWS.values() if entry.kind is Kind.PLACEHOLDER]
    assert len(placeholders) > 40
    assert all(purpose(entry) for entry in placeholders)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("UNet", nets),
        ("Spacingd", transforms),
        ("SpacingD", transforms),
        ("SpacingDict", transforms),
        ("ScaleIntensityRanged", transforms),
        ("Compose", transforms),
        ("SlidingWindowInferer", inferers),
    ],
)
def test_short_and_full_names_are_those_of_monai(name: str, package: object) -> None:
    built = getattr(package, name)
    for spelling in (name, f"{package.__name__}.{name}", f"{built.__module__}.{name}"):  # type: ignore[attr-defined]
        entry = find_target(spelling)
        assert entry is not None
        assert entry.load() is built


@pytest.mark.parametrize(
    "name",
    ["where", "torch.where", "torch.float32", "math.pi", "float32", "is_available"],
)
def test_functions_and_constants_are_no_targets(name: str) -> None:
    assert find_target(name) is None


def test_what_stands_for_code_of_bundles_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs/models.md").read_text(encoding="utf-8")
    ours = [name for name in OURS if name.startswith("scripts.")]
    assert len(ours) > 3
    assert [name for name in ours if f"`{name}`" not in page] == []


def test_nothing_that_reaches_outside_is_in_the_tables() -> None:
    for name in ("TorchVisiond", "TorchIO", "CuCIM", "ZarrAvgMerger", "Transchex", "MILModel"):
        assert find_target(name) is None
    for name in ("numpy.load", "os.system", "os.path.exists", "glob.glob", "json.loads"):
        assert find(name) is None
