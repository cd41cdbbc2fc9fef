"""VISTA3D as its bundle writes it, with a small network in the place of the large one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.models.program import flow, layout, resolving
from tests.pipeline.models.program import bundles
from tests.pipeline.models.program.bundles import configuration, go_on, step

EVERYTHING = [4, 2, 9]


class Layers(nn.Module):
    """Finds class 9 above 0.5 of the image and class 4 below; class 2 nowhere."""

    point_head = SimpleNamespace(last_supported=12)

    def forward(self, images: Tensor, *, class_vector: Tensor, transpose: bool) -> Tensor:
        assert transpose
        bright = images[:, 0] - 0.5
        maps = {9: bright, 4: -bright, 2: torch.full_like(bright, -9.0)}
        return torch.stack([maps[int(number)] for number in class_vector], dim=1)


def document(everything: Any = EVERYTHING) -> Document:
    config = configuration(
        {"_target_": "UNet"},
        [
            step("LoadImaged"),
            step("EnsureChannelFirstd"),
            step("monai.apps.vista3d.transforms.VistaPreTransformd", subclass={"2": [14, 5]}),
            step("ScaleIntensityd"),
            step("Orientationd", axcodes="RAS"),
        ],
        [
            step("monai.apps.vista3d.transforms.VistaPostTransformd", "pred"),
            step("Invertd", "pred", transform="$copy.deepcopy(@preprocessing)", orig_keys="image"),
        ],
        {
            "_target_": "scripts.inferer.Vista3dInferer",
            "roi_size": [8, 8, 8],
            "overlap": 0.3,
            "sw_batch_size": 1,
            "use_point_window": True,
        },
        everything_labels=everything,
        copies="$import copy",
    )
    config["evaluator"] |= {
        "_target_": "scripts.evaluator.Vista3dEvaluator",
        "hyper_kwargs": {"user_prompt": True, "everything_labels": "@everything_labels"},
    }
    return Document(config)


def run(found: Document) -> flow.Run:
    files = {"series-0": bundles.volume()}
    return flow.build(found, layout.read(found), files, Layers(), torch.device("cpu"))


def test_the_classes_of_the_configuration_are_found_on_the_grid_of_the_source() -> None:
    found = document()
    assert resolving.faults(found) == []
    built = run(found)
    data = built.prepare()
    answer = built.infer(data, checkpoint=go_on, as_list=False)
    labels = built.finish(data, answer)["pred"]
    volume = torch.from_numpy(bundles.volume().values().transpose(2, 1, 0).copy())
    middle = (volume.max() + volume.min()) / 2
    expected = torch.where(volume > middle, 9.0, 4.0)
    assert labels.shape == (1, *volume.shape)
    is_clear = (volume - middle).abs() > 1e-3 * (volume.max() - volume.min())
    assert torch.equal(labels.as_tensor()[0][is_clear], expected[is_clear])


@pytest.mark.parametrize("everything", ["4, 9", [], [4, 4], ["9"], [0], {"4": 9}, None])
def test_classes_that_are_none_are_refused(everything: Any) -> None:
    with pytest.raises(ConfigRefused, match="everything_labels"):
        run(document(everything))
