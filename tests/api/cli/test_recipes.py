"""How a recipe is read that is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli.outcome import ExitCode, Problem
from api.cli.recipes import read_recipe


def test_a_recipe_is_read_from_a_file_or_from_a_shipped_model(tmp_path: Path) -> None:
    given = tmp_path / "mine.yaml"
    given.write_text("batch: 4\ninput: {size: [8, 8]}\n")
    assert read_recipe(str(given)) == {"batch": 4, "input": {"size": [8, 8]}}
    assert read_recipe("demo-ct-denoising")["name"] == "demo-ct-denoising"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch: 4\nseed: 1\nbatch: 8\n", "gives 'batch' twice"),
        ("input: {size: [8], size: [9]}\n", "gives 'size' twice"),
        ("labels: [{name: a, name: b}]\n", "gives 'name' twice"),
        ("labels: &again [*again]\n", "is not YAML"),
        ("batch: [", "is not YAML"),
        ("- batch\n", "is not a mapping"),
        ("title: 2026-01-01\n", "'title' .* neither text nor number"),
        ("network: {arguments: {taken: [1, 2026-01-01 10:00:00]}}\n", "'taken' .* neither"),
        ("2026-01-01: title\n", "'2026-01-01' .* neither"),
        ("labels: !!set {a, b}\n", "'labels' .* neither"),
        ("title: !!binary aGVsbG8=\n", "'title' .* neither"),
    ],
)
def test_what_is_no_recipe_is_wrong_usage(tmp_path: Path, text: str, said: str) -> None:
    given = tmp_path / "mine.yaml"
    given.write_text(text)
    with pytest.raises(Problem, match=said) as refused:
        read_recipe(str(given))
    assert refused.value.code is ExitCode.USAGE


def test_a_recipe_that_is_not_there_names_what_may_be_given() -> None:
    with pytest.raises(Problem, match="does not exist") as refused:
        read_recipe("no-such-model")
    assert "shipped model" in (refused.value.mend or "")
