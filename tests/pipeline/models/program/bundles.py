"""Bundles in MONAI's form, written by the tests, and MONAI's own run of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from PIL import Image as Picture

from pipeline.models import bundle
from pipeline.models.bundle import Bundle
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.volume import Channels, Image, Volume

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
XYZ = np.eye(4)[[2, 1, 0, 3]]
PROGRAM = "configs/inference.json"


def step(name: str, keys: str | Sequence[str] = "@image_key", **arguments: Any) -> dict[str, Any]:
    """Write one transform as a configuration has it."""
    return {"_target_": name, "keys": keys, **arguments}


def configuration(
    network: Mapping[str, Any],
    preprocessing: Sequence[Mapping[str, Any]],
    postprocessing: Sequence[Mapping[str, Any]],
    inferer: Mapping[str, Any] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Write what a bundle's ``inference.json`` usually holds."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "datalist": "$list(sorted(glob.glob(@bundle_root + '/data/*')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": dict(network),
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": list(preprocessing)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": dict(inferer or {"_target_": "SimpleInferer"}),
        "postprocessing": {"_target_": "Compose", "transforms": list(postprocessing)},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "amp": True,
        },
        **others,
    }


@dataclass(frozen=True, kw_only=True)
class Case:
    """A configuration, the network's random weights, and what its metadata says."""

    config: Mapping[str, Any]
    kind: Kind
    labels: tuple[str, ...]
    input: InputSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 8

    def weights(self) -> dict[str, torch.Tensor]:
        """Return random weights of the network, spread wider than a fresh network's."""
        torch.manual_seed(self.seed)
        network = self._parser({}).get_parsed_content("network_def")
        for name, value in network.named_parameters():
            torch.nn.init.normal_(value, 0.0, 0.5 / max(value[0].numel(), 1) ** 0.5 + 0.1)
            assert value.requires_grad, name
        state: dict[str, torch.Tensor] = network.state_dict()
        return state

    def write(self, folder: Path) -> Bundle:
        """Write it as a bundle of ours, whose metadata names the program."""
        first = 1 if self.kind is Kind.SEGMENTATION else 0
        spec = ModelSpec(
            name="tiny-program",
            version="1",
            kind=self.kind,
            title="A tiny program",
            input=self.input,
            labels=tuple(
                Label(number=number, name=name) for number, name in enumerate(self.labels, first)
            ),
            program=PROGRAM,
            options=self.options,
        )
        return bundle.write(
            folder,
            spec,
            weights=self.weights(),
            card="# Tiny\n",
            files={PROGRAM: json.dumps(self.config).encode()},
        )

    def monai(self, folder: Path, *files: Path) -> dict[str, Any]:
        """Return what MONAI's evaluator leaves of one image after the postprocessing.

        Several files are one image: its channels.
        """
        names: list[Any] = [str(name) for name in files]
        weights = self.weights()
        found: list[dict[str, Any]] = []
        # MONAI warns of readers that are not there, of files it overwrites ...
        with warnings.catch_warnings(action="ignore"):
            changes = {
                "bundle_root": str(folder),
                "datalist": names if len(names) == 1 else [names],
            }
            parser = self._parser(changes)
            evaluator = parser.get_parsed_content("evaluator")
            parser.get_parsed_content("network").load_state_dict(weights)
            evaluator.add_event_handler(
                Events.ITERATION_COMPLETED, lambda engine: found.extend(engine.state.output)
            )
            evaluator.run()
        (one,) = found
        return one

    def monai_boxes(self, file: Path, *, by_windows: bool = False) -> dict[str, Any]:
        """Return what MONAI's detector and the postprocessing leave of one image."""
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            parser = self._parser({"datalist": [str(file)]})
            parser.get_parsed_content("network").load_state_dict(self.weights())
            parser.get_parsed_content("detector_ops")
            image = parser.get_parsed_content("dataset")[0]["image"]
            (boxes,) = parser.get_parsed_content("detector").eval()([image], use_inferer=by_windows)
            found: dict[str, Any] = parser.get_parsed_content("postprocessing")(
                {**boxes, "image": image}
            )
        return found

    def _parser(self, changes: Mapping[str, Any]) -> ConfigParser:
        return ConfigParser(json.loads(json.dumps({**self.config, **changes})))


def nifti(volume: Volume, path: Path) -> Path:
    """Write a volume as a NIfTI file: axes x, y, z; affine in RAS."""
    library: Any = nib.nifti1
    image = library.Nifti1Image(volume.values().transpose(2, 1, 0), TO_LPS @ volume.affine @ XYZ)
    library.save(image, path)
    return path


def png(frame: NDArray[np.uint8], path: Path) -> Path:
    """Write one frame as a PNG file."""
    Picture.fromarray(frame).save(path)
    return path


def as_slices(image: Any) -> NDArray[Any]:
    """Return MONAI's (x, y, z) as (slices, rows, columns)."""
    return np.asarray(torch.as_tensor(image).cpu().numpy()).T


def volume(
    shape: tuple[int, int, int] = (12, 20, 18),
    affine: NDArray[np.float64] | None = None,
    seed: int = 0,
    unit: str = "HU",
) -> Volume:
    """Return smooth blobs of Hounsfield units on a grid whose affine a NIfTI file can hold."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, 4, 5, 5, generator=generator) * 300
    field = torch.nn.functional.interpolate(coarse, shape, mode="trilinear")[0, 0].numpy()
    place = np.diag([2.5, 1.1, 0.9, 1.0])[[2, 1, 0, 3]] if affine is None else affine
    return Volume(
        stored=field.astype(np.int16),
        # as float32 keeps it: the file must say the same place
        affine=place.astype(np.float32).astype(np.float64),
        unit=unit,
    )


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


__all__ = ["Case", "Channels", "Image", "configuration", "step"]
