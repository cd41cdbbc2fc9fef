"""One bundle of the Model Zoo run by MONAI itself: its own parser, evaluator and scripts.

    python -m bench.zoo_monai WORK

Reads what ``bench.zoo_ours`` left in WORK, and writes ``monai.npz`` and ``monai.json`` there. This
runs code of the bundle, as MONAI does; Nightshift never does.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from pipeline.config.document import Document

# MONAI comes after ours, which lets torchvision import
from pipeline.models import arrays
from pipeline.models.program import layout


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.zoo_monai", description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work.resolve()
    warnings.simplefilter("ignore")
    logging.disable()
    found: dict[str, Any] = {"runs": False}
    # bundles name their scripts and files relative to themselves
    sys.path.insert(0, str(work / "bundle"))
    os.chdir(work / "bundle")
    try:
        started = time.perf_counter()
        answer = _run(work)
        found.update(runs=True, seconds=time.perf_counter() - started)
        np.savez(work / "monai.npz", **answer)
    # whatever MONAI or a script raises is what the table says of it
    except Exception as error:  # noqa: BLE001
        first = error
        while first.__cause__ is not None:
            first = first.__cause__
        found["refused"] = f"{type(first).__name__}: {' '.join(str(first).split())[:200]}"
    (work / "monai.json").write_text(json.dumps(found))
    return 0


def _run(work: Path) -> dict[str, Any]:
    from ignite.engine import Events
    from monai.bundle import ConfigParser

    configuration = next(iter(sorted((work / "bundle/configs").glob("inference.*"))))
    parts = layout.read(Document.read([configuration]))
    parser = ConfigParser()
    parser.read_config(str(configuration))
    parser["bundle_root"] = "."
    _settle(parser)
    keys = _loaded_keys(parser)
    files = [str(path) for path in sorted((work / "files").iterdir())]
    data = dict(zip(keys, files, strict=False)) if len(keys) >= len(files) > 1 else {keys[0]: files}
    if len(files) == 1:
        data = {keys[0]: files[0]}
    if _loads_no_truth(parser):
        # what is compared with it is left out; the postprocessing may still turn it over
        data["label"] = 0
    _without_truth(parser, set(data))
    parser["dataset"] = {"_target_": "Dataset", "data": [data], "transform": "@preprocessing"}
    parser["dataloader#num_workers"] = 0
    parser["dataloader#batch_size"] = 1
    parser["evaluator#val_handlers"] = None
    _settle_topology(parser)
    if isinstance(parser.get("network_def"), dict) and "pretrained" in parser["network_def"]:
        # weights from elsewhere, which ours would replace anyway
        parser["network_def#pretrained"] = False
    for name in ("key_val_metric", "additional_metrics"):
        parser.config["evaluator"].pop(name, None)
    evaluator = parser.get_parsed_content("evaluator")
    network = parser.get_parsed_content(parts.network[0].replace("::", "#"))
    network.load_state_dict(load_file(work / "bundle/models/model.safetensors"))
    left: list[Any] = []
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: left.append((engine.state.batch, engine.state.output)),
    )
    evaluator.run()
    return _arrays(left, parser)


def _settle(parser: Any) -> None:
    """Read NIfTI without ITK, and invert label numbers by the nearest voxel, as ours does."""
    are_numbers = False
    for part in ("preprocessing", "postprocessing"):
        transforms = parser.get(part, {}).get("transforms")
        for transform in transforms if isinstance(transforms, list) else ():
            if transform.get("reader") == "ITKReader":
                transform.pop("reader")
            are_numbers |= transform.get("argmax") is True
            if are_numbers and transform.get("_target_") == "Invertd":
                transform["nearest_interp"] = True


def _settle_topology(parser: Any) -> None:
    """Read the arrays of a DiNTS, which torch takes for no weights, and build it on a CPU."""
    if "dints_space" in parser:
        torch.serialization.add_safe_globals(list(arrays.GLOBALS))
        parser["dints_space#device"] = "cpu"


def _loaded_keys(parser: Any) -> list[str]:
    """Return the keys of the images that the preprocessing loads."""
    transforms = parser.get_parsed_content("preprocessing").transforms
    keys: list[str] = []
    for transform in transforms:
        if type(transform).__name__ == "LoadImaged":
            keys += list(transform.keys)
    parser.parse(reset=True)
    return [key for key in keys if key != "label"] or ["image"]


def _loads_no_truth(parser: Any) -> bool:
    """Whether the truth is a number of the data list, as of classifications."""
    loading = [step for step in parser.get("preprocessing")["transforms"] if "Load" in str(step)]
    is_named = "label" in str(parser.get("postprocessing")["transforms"])
    return is_named and "label" not in str(loading)


def _without_truth(parser: Any, given: set[str]) -> None:
    """Leave out ground truth that nobody has at inference, and what only writes files."""
    for part in ("preprocessing", "postprocessing"):
        transforms = parser.get(part, {}).get("transforms")
        for transform in transforms if isinstance(transforms, list) else ():
            if transform.get("_target_", "").startswith("Save"):
                transform["_disabled_"] = True
            elif "label" in str(transform.get("keys")) and "label" not in given:
                transform["allow_missing_keys"] = True


def _arrays(left: list[Any], parser: Any) -> dict[str, Any]:
    batch, output = left[0]
    output = output[0] if isinstance(output, list) else output
    answer = output["type_map"] if "type_map" in output else output["pred"]
    if isinstance(answer, Mapping) and "box" in answer:
        image = (batch[0] if isinstance(batch, list) else batch)["image"]
        boxes = parser.get_parsed_content("postprocessing")({**answer, "image": image})
        order = torch.argsort(-boxes["label_scores"], stable=True)
        return {
            "box_scores": boxes["label_scores"][order].numpy(),
            "centres": boxes["box"][order, :3].numpy(),
        }
    return {"pred": torch.as_tensor(answer).cpu().numpy()}


if __name__ == "__main__":
    raise SystemExit(main())
