"""``configs/metadata.json`` of a bundle, to and from ``ModelSpec``.

MONAI's own keys (docs.monai.io, "MONAI Bundle Specification") stay as they are; what MONAI has no
word for lives in the block ``nightshift``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.models import metadata_block, options
from pipeline.models.metadata_block import Block
from pipeline.models.spec import Calibration, InputSpec, Label, ModelSpec
from pipeline.results import Code

_VERSION = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$"


class _Metadata(BaseModel):
    """The keys we read. MONAI's other keys (authors, changelog ...) are kept and not judged."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: str = Field(pattern=_VERSION)
    nightshift: Block


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
    found = list(metadata_block.faults(block))
    try:
        chosen = options.parse(block.kind, block.options, is_program=block.program is not None)
    except ValidationError as invalid:
        return None, found + _sentences("nightshift.options", invalid)
    found += metadata_block.option_faults(block, chosen)
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
    """Return the input as it is written; unit and table only where stated, as in older bundles."""
    written = asdict(stated)
    return {key: value for key, value in written.items() if value or key not in {"unit", "table"}}


def _sentences(where: str, invalid: ValidationError) -> list[str]:
    return [
        f"{where}: {'.'.join(map(str, fault['loc'])) or 'document'}: {fault['msg']}"
        for fault in invalid.errors(include_url=False, include_input=False)
    ]


def _spec(metadata: _Metadata, digest: str) -> ModelSpec:
    block = metadata.nightshift
    return ModelSpec(
        name=block.name,
        version=metadata.version,
        kind=block.kind,
        title=block.title,
        input=block.input.spec(),
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


def _code(stated: metadata_block.Code | None) -> Code | None:
    return None if stated is None else Code(**stated.model_dump())
