"""Take in what is brought: it becomes a checked bundle of our form, or all faults are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from pipeline.config import reading
from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.dicom.refusal import FileRefused
from pipeline.models import arrays, bundle
from pipeline.models.bundle import METADATA, WEIGHTS, Bundle, BundleRefused
from pipeline.models.intake import (
    child,
    choosing,
    deriving,
    fit,
    following,
    large_files,
    monai,
    smuggled,
    trial,
)
from pipeline.models.intake.brought import Brought, IntakeLimits, look_into
from pipeline.models.intake.deriving import Stated
from pipeline.models.intake.forms import Fate
from pipeline.models.intake.large_files import LargeFiles
from pipeline.models.intake.weights import Errand
from pipeline.models.program import resolving
from pipeline.models.spec import Kind
from pipeline.reasons import Reason

#: checks weights and writes them as safetensors; ``child.convert`` does it in a process apart
Convert: TypeAlias = Callable[[Errand, IntakeLimits], dict[str, list[int]]]

_BLOCK: Final = "nightshift"
_WITHOUT_WEIGHTS: Final = tuple(kind for kind in Kind if not kind.is_learned)
#: where metadata says what registration made of what was brought
_ACCOUNT: Final = "nightshift_intake"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A bundle of our form, and what of the one brought is not in it, by name, and why."""

    bundle: Bundle
    left_out: Mapping[str, str]


@dataclass(kw_only=True)
class _Work:
    """What one intake knows so far."""

    brought: Brought
    folder: Path
    stated: Stated
    limits: IntakeLimits
    faults: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    #: of the file the weights were converted from
    converted: dict[str, str] = field(default_factory=dict)
    #: of the files that arrays were converted from, by name: the sha256
    arrays: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, list[int]] | None = None


def take_in(
    path: Path,
    scratch: Path,
    *,
    stated: Stated | None = None,
    limits: IntakeLimits | None = None,
    convert: Convert = child.convert,
) -> Taken:
    """Make a bundle of our form from a folder or a ZIP. What is brought stays as it is.

    Args:
        path: the folder or ZIP.
        scratch: an empty folder; the bundle is made in it, and what a refusal leaves is in it.
        stated: what a person says of the bundle.
        limits: how much it may ask for.
        convert: how weights are read.

    Raises:
        BundleRefused: lists every fault that was found.

    """
    limits = limits or IntakeLimits()
    try:
        brought = look_into(path, limits)
        folder = scratch / "bundle"
        work = _Work(brought=brought, folder=folder, stated=stated or Stated(), limits=limits)
        return _take(work, scratch, convert)
    except (ConfigRefused, BundleRefused) as refused:
        raise BundleRefused(refused.faults, Reason.MODEL_BUNDLE_REFUSED) from None
    except FileRefused as refused:
        raise BundleRefused(refused.sentence, Reason.MODEL_BUNDLE_REFUSED) from None


def _take(work: _Work, scratch: Path, convert: Convert) -> Taken:
    _unpack(work)
    written = reading.read(work.folder / METADATA)
    block, document = _stated_block(work, written)
    if block.get("kind") not in _WITHOUT_WEIGHTS:
        _bring_weights(work, document, scratch, convert)
    if document is not None:
        work.faults += smuggled.faults(document) or resolving.faults(document)
    if work.faults:
        raise BundleRefused(work.faults)
    _write_metadata(work, written, block)
    made = bundle.load(work.folder)
    work.faults += [] if work.shapes is None else fit.faults(made.spec, document, work.shapes)
    work.faults += [] if work.faults else trial.faults(made, document)
    if work.faults:
        raise BundleRefused(work.faults)
    return Taken(bundle=made, left_out=dict(sorted(work.left_out.items())))


def _unpack(work: _Work) -> None:
    """Write the texts and pictures; whatever is neither was refused or is left out."""
    for name in work.brought.of(Fate.KEPT):
        target = work.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        work.brought.extract(name, target)
    judged = work.brought.judged
    work.left_out = {name: judged[name].why for name in work.brought.of(Fate.LEFT_OUT)}


def _stated_block(
    work: _Work, written: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Document | None]:
    """Return the block ``nightshift``, as it is or derived, and the configuration it runs by."""
    metadata, found = monai.parse(written)
    work.faults += found
    block = written.get(_BLOCK)
    if isinstance(block, Mapping):
        program = block.get("program")
        return deriving.amend(block, work.stated), _document(work, program)
    program, found = deriving.program_of(work.brought.of(Fate.KEPT))
    work.faults += found
    document = _document(work, program)
    if metadata is None or program is None or document is None:
        return {}, document
    block, found = deriving.derive(metadata, program, document, work.stated)
    work.faults += found
    return block, document


def _document(work: _Work, program: object) -> Document | None:
    """Read a configuration; what is wrong with it is a fault beside the others."""
    # a name that is no kept file of ours is said by ``bundle.load``, and is not opened
    if program not in work.brought.of(Fate.KEPT):
        return None
    try:
        document = Document.read([work.folder / str(program)], work.folder)
        assert document.items is not None  # noqa: S101, macros are expanded here, or refused
    except ConfigRefused as refused:
        work.faults += refused.faults
        return None
    return document


def _bring_weights(work: _Work, document: Document | None, scratch: Path, convert: Convert) -> None:
    large, found = large_files.read(work.folder)
    work.faults += found
    named = None if document is None else following.weights_file(document)
    work.faults += [] if document is None else following.several_networks(document)
    choice = choosing.choose(work.brought, named, large, scratch)
    work.faults += choice.faults
    work.left_out |= choice.left_out
    for loaded in () if document is None else following.loaded_files(document):
        _bring_arrays(work, loaded, large, scratch, convert)
    if choice.name is None:
        return
    errand = Errand(
        path=scratch / f"weights{Path(choice.name).suffix.lower()}",
        name=choice.name,
        target=work.folder / WEIGHTS,
        key=None if document is None else following.weights_key(document),
        largest_bytes=work.limits.file_bytes,
    )
    work.shapes, digest = _converted(work, errand, large, convert)
    if choice.name != WEIGHTS:
        work.converted = {"file": choice.name, "sha256": digest}


def _bring_arrays(
    work: _Work, loaded: str, large: LargeFiles, scratch: Path, convert: Convert
) -> None:
    """Convert a file that the configuration itself loads; it is no network's weights."""
    target = arrays.place(work.folder, loaded)
    if target == work.folder / WEIGHTS:
        return
    there = work.brought.of(Fate.WEIGHTS)
    wanted = (target.relative_to(work.folder).as_posix(), f"models/{loaded}")
    name = next((one for one in wanted if one in there), None)
    if name is None:
        work.faults.append(f"{wanted[1]} is missing; the configuration loads it")
        return
    errand = Errand(
        path=scratch / f"{target.stem}-loaded{Path(name).suffix.lower()}",
        name=name,
        target=target,
        key=None,
        largest_bytes=work.limits.kept_bytes,
        is_aside=True,
    )
    work.left_out.pop(name, None)
    _, digest = _converted(work, errand, large, convert)
    if name != wanted[0]:
        work.arrays[name] = digest


def _converted(
    work: _Work, errand: Errand, large: LargeFiles, convert: Convert
) -> tuple[dict[str, list[int]] | None, str]:
    """Return the shapes, None where it is refused, and the sha256 of what was brought."""
    digests = work.brought.extract(errand.name, errand.path)
    errand.target.parent.mkdir(exist_ok=True)
    if different := large.faults(errand.name, digests):
        # bytes that are not what the bundle says they are are not read at all
        work.faults += different
        return None, digests["sha256"]
    try:
        return convert(errand, work.limits), digests["sha256"]
    except BundleRefused as refused:
        work.faults += refused.faults
        return None, digests["sha256"]


def _write_metadata(work: _Work, written: Mapping[str, Any], block: Mapping[str, Any]) -> None:
    """Write the metadata where they say something new; where not, they stay to the byte."""
    if block == written.get(_BLOCK) and not work.converted and not work.arrays:
        return
    account: dict[str, Any] = {"left_out": dict(sorted(work.left_out.items()))}
    if work.converted:
        account["weights"] = work.converted
    if work.arrays:
        account["arrays"] = work.arrays
    document = {**written, _BLOCK: block, _ACCOUNT: account}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (work.folder / METADATA).write_text(text, encoding="utf-8")
