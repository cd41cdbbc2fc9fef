"""``configs/metadata.json`` of a bundle, to and from ``ModelSpec``.

MONAI's own keys (docs.monai.io, "MONAI Bundle Specification") stay as they are; what MONAI has no
word for lives in the block ``nightshift``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.models import networks, options
from pipeline.models.spec import Calibration, InputSpec, Kind, Label, ModelSpec
from pipeline.models.table.row import SPATIAL_DIMS
from pipeline.preprocess import steps as image_steps
from pipeline.results import Code

_Text = Annotated[str, Field(min_length=1, max_length=200)]
_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_VERSION = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$"
#: where a bundle keeps the MONAI configuration that it is run by
_PROGRAM = r"^configs/[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.(json|yaml|yml)$"
_OPPOSITES = ("RL", "AP", "SI")


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Code(_Closed):
    scheme: _Text
    value: _Text
    meaning: _Text


class _Label(_Closed):
    number: int = Field(ge=0, le=255)
    name: _Text
    code: _Code | None = None
    category: _Code | None = None


class _Input(_Closed):
    modalities: tuple[_Text, ...] = Field(min_length=1)
    spatial_dims: int = Field(ge=2, le=3)
    channels: int = Field(default=1, ge=1, le=64)
    orientation: str | None = Field(default=None, min_length=3, max_length=3)
    spacing: tuple[Annotated[float, Field(gt=0.01, le=50)], ...] | None = None
    window: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (0.5, 99.5)
    unit: _Text | None = None
    size: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = ()
    overlap: float = Field(default=0.25, ge=0.0, lt=1.0)


class _Network(_Closed):
    name: _Text
    arguments: dict[str, Any] = Field(default_factory=dict)


class _Calibration(_Closed):
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    scores: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        default=(), max_length=20_000
    )


class _Block(_Closed):
    name: str = Field(pattern=_NAME)
    kind: Kind
    title: _Text
    input: _Input
    labels: tuple[_Label, ...] = ()
    network: _Network | None = None
    program: str | None = Field(default=None, pattern=_PROGRAM)
    options: dict[str, Any] = Field(default_factory=dict)
    calibration: _Calibration | None = None
    demonstration: bool = False


class _Metadata(BaseModel):
    """The keys we read. MONAI's other keys (authors, changelog ...) are kept and not judged."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: str = Field(pattern=_VERSION)
    nightshift: _Block


def parse(text: str, *, digest: str) -> tuple[ModelSpec | None, list[str]]:
    """Read metadata.

    Returns:
        The spec and no faults, or None and every fault found, each a sentence.

    """
    try:
        metadata = _Metadata.model_validate_json(text)
    except ValidationError as invalid:
        return None, _sentences("metadata.json", invalid)
    block = metadata.nightshift
    found = [*_input_faults(block.input), *_label_faults(block), *_network_faults(block)]
    try:
        chosen = options.parse(block.kind, block.options, is_program=block.program is not None)
    except ValidationError as invalid:
        return None, found + _sentences("nightshift.options", invalid)
    found += _averaging_faults(block.input, chosen)
    found += _instance_faults(block, chosen)
    found += _chain_faults(block, chosen)
    found += _calibration_faults(block, chosen)
    if getattr(chosen, "crop_foreground", False) and block.input.window is None:
        found.append("crop_foreground needs input.window: foreground is what lies above it")
    if found:
        return None, found
    return _spec(metadata, digest), []


def dump(spec: ModelSpec, monai_keys: Mapping[str, Any]) -> str:
    """Write metadata as JSON: MONAI's keys first, then the block ``nightshift``."""
    network = None
    if spec.network is not None:
        network = {"name": spec.network, "arguments": dict(spec.network_arguments)}
    block = {
        "name": spec.name,
        "kind": spec.kind.value,
        "title": spec.title,
        "input": _input(spec.input),
        "labels": [asdict(label) for label in spec.labels],
        "network": network,
        **({} if spec.program is None else {"program": spec.program}),
        "options": dict(spec.options),
        **({} if spec.calibration is None else {"calibration": asdict(spec.calibration)}),
        "demonstration": spec.is_demonstration,
    }
    document = {**monai_keys, "version": spec.version, "nightshift": block}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _input(stated: InputSpec) -> dict[str, Any]:
    """Return the input as it is written; a unit only where there is one, as in older bundles."""
    written = asdict(stated)
    return written if stated.unit else {key: written[key] for key in written if key != "unit"}


def _sentences(where: str, invalid: ValidationError) -> list[str]:
    return [
        f"{where}: {'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg']}"
        for fault in invalid.errors(include_url=False, include_input=False)
    ]


def _input_faults(stated: _Input) -> list[str]:
    found = []
    for name in ("spacing", "size"):
        numbers = getattr(stated, name)
        if numbers and len(numbers) != stated.spatial_dims:
            found.append(f"input.{name} needs {stated.spatial_dims} numbers, has {len(numbers)}")
    if stated.window is not None and not stated.window[0] < stated.window[1]:
        found.append("input.window must rise from its first to its second number")
    if not 0 <= stated.percentiles[0] < stated.percentiles[1] <= 100:
        found.append("input.percentiles must rise, between 0 and 100")
    letters = stated.orientation or "RAS"
    if any(sum(letter in pair for letter in letters) != 1 for pair in _OPPOSITES):
        found.append(f"input.orientation {letters!r} needs one letter each of RL, AP and SI")
    if stated.spatial_dims == 2 and stated.spacing:
        found.append("an image of two axes takes no input.spacing")
    return found


def _averaging_faults(stated: _Input, chosen: object) -> list[str]:
    if not isinstance(chosen, options.AveragingOptions):
        return []
    found = []
    if any(axis >= stated.spatial_dims for axis in chosen.flips) or len(set(chosen.flips)) < len(
        chosen.flips
    ):
        found.append("options.flips names axes of the input, each once")
    if chosen.turns and len(set(stated.size[-2:])) > 1:
        found.append("options.turns needs windows whose last two sides are equal")
    return found


def _instance_faults(block: _Block, chosen: object) -> list[str]:
    if not isinstance(chosen, options.SegmentationOptions):
        return []
    row = networks.TABLE.get(block.network.name) if block.network else None
    if row is not None and row.finds_objects:
        is_plain = chosen.instances and not chosen.is_averaged and chosen.border is None
        needed = "a network that finds objects needs options.instances, nothing averaged, no border"
        return [] if is_plain else [needed]
    if chosen.border is None:
        return []
    if not chosen.instances:
        return ["options.border needs options.instances"]
    is_known = chosen.border in {label.number for label in block.labels}
    return [] if is_known else ["options.border is the number of no label"]


def _calibration_faults(block: _Block, chosen: object) -> list[str]:
    kept = block.calibration
    if kept is None or not kept.scores:
        return []
    found = []
    if not isinstance(chosen, options.ClassificationOptions) or chosen.activation != "softmax":
        found.append("calibration.scores are of a classification by softmax")
    if list(kept.scores) != sorted(kept.scores):
        found.append("calibration.scores rise")
    return found


def _chain_faults(block: _Block, chosen: object) -> list[str]:
    if not isinstance(chosen, options.ClassicalOptions):
        return []
    kind: image_steps.Kind = "volume" if block.input.spatial_dims == 3 else "image"
    found = [f"options.steps: {fault}" for fault in image_steps.faults(chosen.steps, kind)]
    if len(block.labels) != 1:
        found.append("a classical model makes one mask, so it has one label")
    return found


def _label_faults(block: _Block) -> list[str]:
    if bool(block.labels) == (block.kind is Kind.RESTORATION):
        return [f"a {block.kind} model has {'no' if block.labels else 'at least one'} label"]
    numbers = [label.number for label in block.labels]
    first = 1 if block.kind.makes_masks else 0
    if sorted(numbers) != list(range(first, first + len(numbers))):
        return [f"labels of a {block.kind} model are numbered from {first} without gaps"]
    if len({label.name for label in block.labels}) != len(numbers):
        return ["two labels have the same name"]
    return []


def _network_faults(block: _Block) -> list[str]:
    if not block.kind.is_learned:
        has_one = block.network or block.program
        return [f"a {block.kind} model has neither network nor program"] if has_one else []
    if block.program is not None:
        return ["a program states its own network"] if block.network else []
    if block.network is None:
        return [f"a {block.kind} model needs a network or a program"]
    found = [] if block.input.size else ["a model with a network needs input.size"]
    given = block.network.arguments
    found += networks.faults(block.network.name, given)
    if found:
        return found
    row = networks.TABLE[block.network.name]
    if block.kind not in row.kinds:
        known = " or ".join(sorted(row.kinds))
        return [f"the network {block.network.name} is for {known}, not for {block.kind}"]
    if block.kind is Kind.RESTORATION:
        scale = 1 if row.scale is None else given.get("scale", row.scale)
        if block.options.get("scale", 1) != scale:
            found.append(f"options.scale must be {scale}, as the network answers")
    stated = {
        SPATIAL_DIMS: block.input.spatial_dims,
        row.in_channels: block.input.channels,
        row.outputs: _outputs(block),
    }
    return found + [
        f"network argument {name} is {given[name]!r}, the input and labels ask for {value}"
        for name, value in stated.items()
        if given[name] != value
    ]


def _outputs(block: _Block) -> int:
    """Return how many channels the network answers with."""
    if block.kind is Kind.RESTORATION:
        return block.input.channels
    return len(block.labels) + (1 if block.kind is Kind.SEGMENTATION else 0)


def _spec(metadata: _Metadata, digest: str) -> ModelSpec:
    block = metadata.nightshift
    return ModelSpec(
        name=block.name,
        version=metadata.version,
        kind=block.kind,
        title=block.title,
        input=InputSpec(**block.input.model_dump()),
        labels=tuple(
            Label(
                number=label.number,
                name=label.name,
                code=_code(label.code),
                category=_code(label.category),
            )
            for label in block.labels
        ),
        network=block.network.name if block.network else None,
        network_arguments=block.network.arguments if block.network else {},
        program=block.program,
        options=block.options,
        calibration=None
        if block.calibration is None
        else Calibration(**block.calibration.model_dump()),
        is_demonstration=block.demonstration,
        digest=digest,
    )


def _code(stated: _Code | None) -> Code | None:
    return None if stated is None else Code(**stated.model_dump())
