"""One bundle of the Model Zoo with random weights: registered and run by Nightshift.

    python -m bench.zoo_ours BUNDLE WORK [--modality M] [--label L]...

Writes into WORK: ``bundle`` (as it was brought, with the random weights), ``files`` (the input),
``ours.npz`` (the answer) and ``ours.json`` (what became of it).
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save_file

from bench import zoo_input, zoo_topology
from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.errors import PipelineError
from pipeline.models import predictors
from pipeline.models.devices import Device
from pipeline.models.intake.deriving import Stated
from pipeline.models.intake.taking import take_in
from pipeline.models.program import layout, resolving
from pipeline.models.program.handing import Handing
from pipeline.results import Classification, Detection, Prediction

_WEIGHTS: Final = "models/model.safetensors"
#: what a person writes of bundles that a few options cannot describe
BLOCKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "pathology_nuclei_segmentation_classification": {
        "name": "hovernet-nuclei",
        "kind": "segmentation",
        "title": "Nuclei by their type",
        "input": {"modalities": ["SM"], "spatial_dims": 2, "channels": 3},
        "labels": [
            {"number": number, "name": name}
            for number, name in enumerate(("other", "inflammatory", "epithelial", "spindle"), 1)
        ],
        "program": "configs/inference.json",
        "options": {"prediction_key": "type_map"},
    }
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.zoo_ours", description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--modality", action="append", default=[])
    parser.add_argument("--label", action="append", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    stated = Stated(modalities=tuple(arguments.modality), labels=tuple(arguments.label))
    found: dict[str, Any] = {"registers": False, "runs": False}
    try:
        _run(arguments.bundle, arguments.work, stated, found)
    except PipelineError as refused:
        found["refused"] = getattr(refused, "faults", None) or [refused.sentence]
        found["reason"] = str(refused.reason)
    (arguments.work / "ours.json").write_text(json.dumps(found))
    return 0


def _run(brought: Path, work: Path, stated: Stated, found: dict[str, Any]) -> None:
    copy = work / "bundle"
    shutil.copytree(brought, copy, ignore=shutil.ignore_patterns("*.pt", "*.ts", "*.pth"))
    has_weights = _add_weights(copy, found)
    if brought.name in BLOCKS:
        metadata = copy / "configs/metadata.json"
        written = {**json.loads(metadata.read_text()), "nightshift": BLOCKS[brought.name]}
        metadata.write_text(json.dumps(written))
    (work / "taken").mkdir()
    try:
        taken = take_in(copy, work / "taken", stated=stated)
    except PipelineError as refused:
        faults = getattr(refused, "faults", [refused.sentence])
        # nothing was added for a network that could not be built: that is said already
        told = faults if has_weights else [one for one in faults if "models/" not in one]
        found["refused"] = told or faults
        return
    found["registers"] = True
    spec = taken.bundle.spec
    found["kind"] = str(spec.kind)
    predictor: Any = predictors.open(taken.bundle, device=Device("cpu"))
    takes_volume = getattr(predictor, "takes_volume", spec.input.spatial_dims == 3)
    (work / "files").mkdir()
    document = Document.read([taken.bundle.folder / str(spec.program)])
    inferer = layout.target(document, layout.read(document).inferer)
    made = zoo_input.make(
        spec.input,
        work / "files",
        takes_volume=takes_volume,
        sees_whole=inferer in ("", "SimpleInferer"),
    )
    started = time.perf_counter()
    prediction: Prediction = predictor.predict(made.image, checkpoint=lambda: None)
    found["seconds"] = time.perf_counter() - started
    found["runs"] = True
    found["way"] = prediction.options.get("way", "")
    found["warnings"] = list(prediction.warnings)
    np.savez(work / "ours.npz", **_arrays(prediction))


def _add_weights(bundle: Path, found: dict[str, Any]) -> bool:
    """Give a bundle random weights, spread wider than those of a fresh network."""
    configurations = sorted((bundle / "configs").glob("inference.*"))
    try:
        document = Document.read(configurations[:1], bundle)
        parts = layout.read(document)
        topology = zoo_topology.add(document, bundle)
        found["has_made_topology"] = bool(topology)
        given = {resolving.DEVICE: torch.device("cpu"), **topology}
        torch.manual_seed(0)
        resolver = resolving.resolver(document, given=given, load=Handing({}))
        network = resolver.get(parts.network[0])
    except (ConfigRefused, IndexError):
        return False
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, float(parameter.mean()), 0.2)
    (bundle / "models").mkdir(exist_ok=True)
    save_file({n: v.clone() for n, v in network.state_dict().items()}, bundle / _WEIGHTS)
    return True


def _arrays(prediction: Prediction) -> dict[str, Any]:
    """Return the answer as arrays by name."""
    if prediction.label_map is not None:
        return {"labels": prediction.label_map}
    if prediction.derived:
        return {"image": prediction.derived[0].values}
    scores = [one.score for one in prediction.findings if isinstance(one, Classification)]
    if scores:
        return {"scores": scores}
    boxes = [one for one in prediction.findings if isinstance(one, Detection)]
    return {
        "box_scores": [one.score for one in boxes],
        "centres": [one.centre or (0.0, 0.0, 0.0) for one in boxes],
    }


if __name__ == "__main__":
    raise SystemExit(main())
