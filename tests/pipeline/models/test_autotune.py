"""The fastest way to compute a network: only among those that agree, and kept with its reasons."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models import autotune, engines, predictors, tuned
from pipeline.models.bundle import Bundle
from pipeline.models.devices import Device
from pipeline.models.engines import Choice
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.tuned import Cache, Trial, Tuned
from tests.pipeline.models import tiny
from tests.pipeline.models.tiny import go_on

Write = Callable[..., Bundle]


class Wrong(nn.Module):
    """Answers at once, and wrong by a little or a lot."""

    def __init__(self, network: nn.Module, error: float) -> None:
        super().__init__()
        self.network, self.error = network, error

    def forward(self, pixels: Tensor) -> Tensor:
        answer: Tensor = self.network(pixels)
        return answer + self.error * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1, 1)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Conv3d(1, 2, 3, padding=1).eval()


@pytest.fixture
def eager_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "available", lambda _: ("eager",))


def prefer(
    monkeypatch: pytest.MonkeyPatch, is_fast: Callable[[Choice], bool], error: float = 0.0
) -> None:
    """Let some candidates be ten times as fast as the others, and wrong by ``error``."""
    prepare = engines.prepare

    def prepared(network: nn.Module, choice: Choice, *rest: Any) -> nn.Module:
        made = prepare(network, choice, *rest)
        return Wrong(made, error) if error and is_fast(choice) else made

    def timed(_: object, __: nn.Module, choice: Choice) -> float:
        return 0.1 if is_fast(choice) else 1.0

    monkeypatch.setattr(engines, "prepare", prepared)
    monkeypatch.setattr(autotune._Bench, "_once", timed)


def tune(network: nn.Module, *dtypes: str) -> Tuned:
    device = Device(threads=2)
    sample = autotune.smooth_noise((1, 12, 12, 12))
    return autotune.tune(network, sample, device, dtypes=dtypes or ("float32",))


@pytest.mark.usefixtures("eager_only")
def test_the_fastest_candidate_that_agrees_is_chosen(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer(monkeypatch, lambda choice: choice.layout == "channels_last")
    found = tune(network)
    assert found.choice.layout == "channels_last"
    assert found.choice.dtype == "float32"
    assert all(not trial.refused for trial in found.trials)
    assert {trial.choice.batch for trial in found.trials} == {1, 2, 4, 8}
    assert {trial.choice.threads for trial in found.trials} == {1, 2}


@pytest.mark.usefixtures("eager_only")
@pytest.mark.parametrize(("error", "says"), [(2.0, "labels agree"), (0.004, "a logit is off")])
def test_a_fast_candidate_that_is_wrong_is_refused(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, error: float, says: str
) -> None:
    # where labels are far apart a small error shows in the logits alone
    with torch.no_grad():
        network.bias.copy_(torch.tensor([3.0, 0.0]) if error < 1 else torch.zeros(2))  # type: ignore[union-attr, operator]
    prefer(monkeypatch, lambda choice: choice.layout == "channels_last", error)
    found = tune(network)
    assert found.choice.layout == "contiguous"
    refused = [trial.refused for trial in found.trials if trial.choice.layout == "channels_last"]
    assert refused
    assert all(says in sentence for sentence in refused)


@pytest.mark.usefixtures("eager_only")
def test_a_number_format_is_tried_only_where_it_may_be_chosen(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer(monkeypatch, lambda choice: choice.dtype == "bfloat16")
    monkeypatch.setitem(autotune.LEAST_AGREEMENT, "bfloat16", 0.5)
    assert tune(network).choice.dtype == "float32"
    assert tune(network, "float32", "bfloat16").choice.dtype == "bfloat16"


@pytest.mark.usefixtures("eager_only")
def test_a_candidate_that_does_not_run_is_passed_over(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "available", lambda _: ("eager", "openvino"))
    monkeypatch.setattr(engines, "_openvino", lambda *_: 1 / 0)
    found = tune(network)
    assert found.choice.engine == "eager"
    assert "does not run: ZeroDivisionError" in {trial.refused for trial in found.trials}


def test_no_candidate_is_begun_after_the_time_is_over(network: nn.Module) -> None:
    found = autotune.tune(network, autotune.smooth_noise((1, 8, 8, 8)), Device(), seconds=0)
    assert len(found.trials) == 1
    assert found.choice == engines.default(Device())


def test_tuning_leaves_the_network_and_the_threads_as_they_were(network: nn.Module) -> None:
    before, threads = network.weight.clone(), torch.get_num_threads()  # type: ignore[operator, union-attr]
    autotune.tune(
        network, autotune.smooth_noise((1, 8, 8, 8)), Device(), dtypes=("bfloat16",), seconds=0
    )
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, before)  # type: ignore[arg-type]
    assert torch.get_num_threads() == threads


def test_what_was_measured_is_found_again_and_by_its_key_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "tuned.json")
    assert cache.find("one") is None
    choice = Choice(batch=4, threads=3, layout="channels_last")
    kept = Tuned(
        choice=choice, trials=(Trial(choice=choice, seconds=0.25, agreement=1.0, error=0.0),)
    )
    cache.keep("one", kept)
    cache.keep("two", kept.model_copy(update={"trials": ()}))
    again = Cache(tmp_path / "tuned.json")
    assert again.find("one") == kept
    assert again.find("three") is None
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"one": 3}',
        '{"one": {"choice": {"batch": 0, "threads": 1}, "trials": []}}',
        "\0\1",
    ],
)
def test_a_cache_that_cannot_be_read_counts_as_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "tuned.json").write_text(content)
    assert Cache(tmp_path / "tuned.json").find("one") is None


def test_a_measurement_holds_for_its_model_machine_and_freedom_alone() -> None:
    spec = tiny.unet_spec(digest="aa")
    keys = {
        tuned.key_of(spec, Device(threads=1)),
        tuned.key_of(spec, Device(threads=2)),
        tuned.key_of(tiny.unet_spec(digest="bb"), Device(threads=1)),
        tuned.key_of(tiny.unet_spec(digest="aa", options={"dtype": "auto"}), Device(threads=1)),
    }
    assert len(keys) == 4
    assert all(torch.__version__ in key for key in keys)


@pytest.mark.usefixtures("eager_only")
def test_a_bundle_is_tuned_kept_and_run_as_chosen(
    write_unet: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_unet()
    plain = predictors.open(bundle, device=Device(threads=2))
    device = Device(threads=2, tuned=Cache(tmp_path / "tuned.json"))
    assert device.tuned is not None
    speeds = {"layout": "channels_last", "batch": 4, "threads": 1}
    # every step towards these is a gain
    monkeypatch.setattr(
        autotune._Bench,
        "_once",
        lambda _, __, choice: 0.5 ** sum(getattr(choice, name) == speeds[name] for name in speeds),
    )
    autotune.tune_bundle(bundle, device, device.tuned)
    chosen = predictors.open(bundle, device=device)
    image = tiny.volume((24, 26, 30))
    one, two = (each.predict(image, checkpoint=go_on) for each in (plain, chosen))
    said = {name: two.options[name] for name in ("layout", "batch", "threads", "engine", "dtype")}
    assert said == {
        "layout": "channels_last",
        "batch": 4,
        "threads": 1,
        "engine": "eager",
        "dtype": "float32",
    }
    assert one.label_map is not None
    assert two.label_map is not None
    assert (one.label_map == two.label_map).mean() > 0.9999
    assert len(np.unique(one.label_map)) > 1


def test_what_a_bundle_states_is_not_overruled(tmp_path: Path) -> None:
    device = Device(threads=2, tuned=Cache(tmp_path / "tuned.json"))
    assert device.tuned is not None
    for options, expected in (
        ({}, ("float32", 8)),
        ({"batch": 3}, ("float32", 3)),
        ({"dtype": "bfloat16"}, ("bfloat16", 8)),
        ({"dtype": "auto"}, ("float16", 8)),
    ):
        spec = tiny.unet_spec(options=options)
        measured = Choice(batch=8, threads=2, dtype="float16")
        device.tuned.keep(tuned.key_of(spec, device), Tuned(choice=measured, trials=()))
        choice = tuned.choice_for(spec, device)
        assert (choice.dtype, choice.batch) == expected
    assert tuned.choice_for(tiny.unet_spec(options={"dtype": "auto"}), Device()).dtype == "float32"


def test_the_threads_of_a_choice_are_those_of_the_job_that_runs() -> None:
    seen: list[int] = []

    class Watch(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            seen.append(torch.get_num_threads())
            return torch.cat([pixels, 1 - pixels], 1)

    predictor = SegmentationPredictor(tiny.unet_spec(), Watch(), Device(threads=2))
    predictor._choice = predictor._choice.model_copy(update={"threads": 1})
    job = threading.Thread(
        target=predictor.predict, args=(tiny.volume(),), kwargs={"checkpoint": go_on}
    )
    job.start()
    job.join(60)
    assert set(seen) == {1}
