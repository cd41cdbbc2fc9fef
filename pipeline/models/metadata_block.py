"""The block ``nightshift`` of a bundle's metadata: its keys, and what does not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.models import networks, options
from pipeline.models.spec import InputSpec, Kind, TableValue
from pipeline.models.table.row import SPATIAL_DIMS
from pipeline.preprocess import steps as image_steps

_Text = Annotated[str, Field(min_length=1, max_length=200)]
_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
#: where a bundle keeps the MONAI configuration that it is run by
_PROGRAM = r"^configs/[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.(json|yaml|yml)$"
_OPPOSITES = ("RL", "AP", "SI")


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Closed):
    """A coded concept."""

    scheme: _Text
    value: _Text
    meaning: _Text


class _Label(_Closed):
    number: int = Field(ge=0, le=255)
    name: _Text
    code: Code | None = None
    category: Code | None = None


class _Value(_Closed):
    name: Literal["age", "sex", "weight", "size"]
    mean: float = Field(default=0.0, allow_inf_nan=False)
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Input(_Closed):
    """The input, see ``InputSpec``."""

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
    table: tuple[_Value, ...] = Field(default=(), max_length=4)

    def spec(self) -> InputSpec:
        """Return what is stated."""
        table = tuple(TableValue(**value.model_dump()) for value in self.table)
        return InputSpec(**self.model_dump() | {"table": table})


class _Network(_Closed):
    name: _Text
    arguments: dict[str, Any] = Field(default_factory=dict)


class _Calibration(_Closed):
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    scores: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        default=(), max_length=20_000
    )


class Block(_Closed):
    """What MONAI has no word for, each key by itself sound."""

    name: str = Field(pattern=_NAME)
    kind: Kind
    title: _Text
    input: Input
    labels: tuple[_Label, ...] = ()
    network: _Network | None = None
    program: str | None = Field(default=None, pattern=_PROGRAM)
    options: dict[str, Any] = Field(default_factory=dict)
    calibration: _Calibration | None = None
    demonstration: bool = False


def faults(block: Block) -> Iterator[str]:
    """Yield what is wrong with the input, the labels and the network, in sentences."""
    yield from _input_faults(block.input)
    yield from _label_faults(block)
    yield from _network_faults(block)
    yield from _table_faults(block)


def option_faults(block: Block, chosen: object) -> Iterator[str]:
    """Yield what the options of a model do not go together with, in sentences."""
    yield from _averaging_faults(block.input, chosen)
    yield from _instance_faults(block, chosen)
    yield from _restoration_faults(block, chosen)
    yield from _chain_faults(block, chosen)
    yield from _calibration_faults(block, chosen)
    if getattr(chosen, "crop_foreground", False) and block.input.window is None:
        yield "crop_foreground needs input.window: foreground is what lies above it"


def _input_faults(stated: Input) -> list[str]:
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


def _table_faults(block: Block) -> list[str]:
    stated = block.input.table
    if not stated:
        return []
    found = []
    names = [value.name for value in stated]
    if len(set(names)) < len(names):
        found.append("input.table names a value twice")
    if any(value.name == "sex" and (value.mean, value.scale) != (0, 1) for value in stated):
        found.append("input.table: a sex has neither mean nor scale")
    row = networks.TABLE.get(block.network.name) if block.network else None
    if block.network is None or row is None or row.table is None:
        known = ", ".join(name for name, row in networks.TABLE.items() if row.table)
        return [*found, f"input.table needs a network that reads values: {known}"]
    columns = sum(value.columns for value in block.input.spec().table)
    given = block.network.arguments.get(row.table)
    if given != columns:
        found.append(f"network argument {row.table} is {given!r}, input.table has {columns}")
    return found


def _averaging_faults(stated: Input, chosen: object) -> list[str]:
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


def _instance_faults(block: Block, chosen: object) -> list[str]:
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


def _restoration_faults(block: Block, chosen: object) -> Iterator[str]:
    row = networks.TABLE.get(block.network.name) if block.network else None
    if row is None or block.network is None or not isinstance(chosen, options.RestorationOptions):
        return
    given = block.network.arguments
    scale = 1 if row.scale is None else given.get("scale", row.scale)
    if chosen.scale != scale:
        yield f"options.scale must be {scale}, as the network answers"
    if chosen.beside and block.input.spatial_dims != 2:
        yield "options.beside is for networks of two axes: those of three see their neighbours"
    channels, shown = given.get(row.in_channels), block.input.channels * (2 * chosen.beside + 1)
    if channels != shown:
        yield f"network argument {row.in_channels} is {channels}, input and options ask for {shown}"


def _calibration_faults(block: Block, chosen: object) -> list[str]:
    kept = block.calibration
    if kept is None or not kept.scores:
        return []
    found = []
    if not isinstance(chosen, options.ClassificationOptions) or chosen.activation != "softmax":
        found.append("calibration.scores are of a classification by softmax")
    if list(kept.scores) != sorted(kept.scores):
        found.append("calibration.scores rise")
    return found


def _chain_faults(block: Block, chosen: object) -> list[str]:
    if not isinstance(chosen, options.ClassicalOptions):
        return []
    kind: image_steps.Kind = "volume" if block.input.spatial_dims == 3 else "image"
    found = [f"options.steps: {fault}" for fault in image_steps.faults(chosen.steps, kind)]
    if len(block.labels) != 1:
        found.append("a classical model makes one mask, so it has one label")
    return found


def _label_faults(block: Block) -> list[str]:
    if bool(block.labels) == (block.kind is Kind.RESTORATION):
        return [f"a {block.kind} model has {'no' if block.labels else 'at least one'} label"]
    numbers = [label.number for label in block.labels]
    first = 1 if block.kind.makes_masks else 0
    if sorted(numbers) != list(range(first, first + len(numbers))):
        return [f"labels of a {block.kind} model are numbered from {first} without gaps"]
    if len({label.name for label in block.labels}) != len(numbers):
        return ["two labels have the same name"]
    return []


def _network_faults(block: Block) -> list[str]:
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
    stated = {SPATIAL_DIMS: block.input.spatial_dims, row.outputs: _outputs(block)}
    if block.kind is not Kind.RESTORATION:
        stated[row.in_channels] = block.input.channels
    return [
        f"network argument {name} is {given[name]!r}, the input and labels ask for {value}"
        for name, value in stated.items()
        if given[name] != value
    ]


def _outputs(block: Block) -> int:
    """Return how many channels the network answers with."""
    if block.kind is Kind.RESTORATION:
        return block.input.channels
    return len(block.labels) + (1 if block.kind is Kind.SEGMENTATION else 0)
