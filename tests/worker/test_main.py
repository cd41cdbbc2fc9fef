"""``python -m worker``: how a word is answered."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from worker import __main__ as door


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_answers_a_word_is_loaded_unseen_by_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: dict[str, bool] = {}

    def load(module: str) -> SimpleNamespace:
        loaded[module] = gc.isenabled()
        return SimpleNamespace(say=lambda words: 7 if words.word == "decoders" else 1)

    monkeypatch.setattr(door, "import_module", load)
    assert door.main(["decoders"]) == 7
    assert loaded == {"worker.decoders": False}
    assert gc.isenabled()
