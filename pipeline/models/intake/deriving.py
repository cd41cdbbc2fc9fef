"""The block ``nightshift`` of a bundle that has none, from MONAI's keys and what people state.

A statement of a person goes before the metadata. What neither says is asked for in a sentence that
names the option; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from pipeline.config.document import Document
from pipeline.models.intake import following
from pipeline.models.intake.monai import DataFormat, MonaiMetadata, Port
from pipeline.models.spec import Kind

#: as metadata writes them -> DICOM's defined terms (PS3.3 C.7.3.1.1.1)
MODALITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "ct": ("CT",),
    "mr": ("MR",),
    "mri": ("MR",),
    "mammogram": ("MG",),
    "mammography": ("MG",),
    "mg": ("MG",),
    "x-ray": ("CR", "DX"),
    "xray": ("CR", "DX"),
    "cr": ("CR",),
    "dx": ("DX",),
    "us": ("US",),
    "ultrasound": ("US",),
    "pt": ("PT",),
    "pet": ("PT",),
    "nm": ("NM",),
    "oct": ("OPT",),
    "fundus": ("OP",),
    "endoscopy": ("ES",),
    "es": ("ES",),
    "pathology": ("SM",),
    "histopathology": ("SM",),
}
_DICOM_MODALITY: Final = re.compile(r"[A-Z]{2,16}")
_BACKGROUND: Final = re.compile(r"(?i)back[ _-]?ground")
_SCORES: Final = frozenset({"probabilities", "probability", "labels", "classes", "classification"})
_LABEL_MAPS: Final = frozenset({"segmentation", "labels"})
_MASKS: Final = tuple(kind for kind in Kind if kind.makes_masks)
_BOXES: Final = frozenset({"object", "box", "boxes", "detection"})
_IMAGES: Final = frozenset({"image", "magnitude", "hounsfield", "rgb"})
_NOISE: Final = frozenset({"noise", "latent"})


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What the person who brings a bundle says of it; None or () leaves it to the metadata."""

    name: str | None = None
    title: str | None = None
    kind: Kind | None = None
    #: DICOM modalities
    modalities: tuple[str, ...] = ()
    #: names in the order of the network's channels, background left out
    labels: tuple[str, ...] = ()
    #: what turns the network's answer into scores: "softmax", "sigmoid" or "none"
    activation: str | None = None


def amend(block: Mapping[str, Any], stated: Stated) -> dict[str, Any]:
    """Return a block with what a person states in the place of what it says.

    What the block says wrongly stays for ``bundle.load`` to find.
    """
    amended = dict(block)
    given = {"name": stated.name, "title": stated.title, "kind": stated.kind and str(stated.kind)}
    amended |= {key: value for key, value in given.items() if value is not None}
    if stated.modalities:
        amended["input"] = {**_mapping(block, "input"), "modalities": list(stated.modalities)}
    if stated.labels:
        amended["labels"] = _numbered(stated.labels, amended.get("kind"))
    if stated.activation is not None:
        amended["options"] = {**_mapping(block, "options"), "activation": stated.activation}
    return amended


def _mapping(block: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = block.get(key)
    return value if isinstance(value, Mapping) else {}


def derive(
    metadata: MonaiMetadata, program: str, document: Document, stated: Stated
) -> tuple[dict[str, Any], list[str]]:
    """Derive the block of a bundle that its MONAI configuration runs.

    Args:
        metadata: MONAI's keys.
        program: path of the configuration in the bundle.
        document: what it holds.
        stated: what a person says.

    Returns:
        The block, whole only where there is no fault; and the faults, each a sentence.

    """
    if metadata.network_data_format is None:
        return {}, ["metadata.json: network_data_format is missing; it says what goes in and out"]
    ports, found = _ports(metadata.network_data_format)
    if ports is None:
        return {}, found
    name, given, answer = ports
    kind, more = _kind(given, answer, stated)
    modalities, unknown = _modalities(given, stated)
    found += more + unknown
    labels: list[dict[str, Any]] = []
    if kind is not None:
        labels, more = _labels(kind, answer, stated)
        found += more
        found += following.contradictions(document, given, _outputs(kind, answer, labels))
    slug = stated.name or slug_of(metadata.name or "")
    found += [] if slug else ["the metadata gives the model no name; state one with --name"]
    block = {
        "name": slug,
        "kind": None if kind is None else str(kind),
        "title": (stated.title or metadata.name or metadata.task or slug)[:200],
        "input": {
            "modalities": list(modalities),
            "spatial_dims": len(given.spatial_shape),
            "channels": given.num_channels,
        },
        "labels": labels,
        "program": program,
        "options": _options(document, name, stated),
    }
    return block, found


def slug_of(text: str) -> str:
    """Return a text as a name of a model: small letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")


def program_of(names: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the configuration that runs a bundle, None and why where it is not plain which."""
    found = sorted(
        name
        for name in names
        if PurePosixPath(name).parent == PurePosixPath("configs")
        and PurePosixPath(name).stem == "inference"
        and PurePosixPath(name).suffix in (".json", ".yaml", ".yml")
    )
    if len(found) == 1:
        return found[0], []
    if not found:
        return None, ["configs/inference.json (or .yaml) is missing; it says how the model is run"]
    return None, [f"{' and '.join(found)} are both there; keep the one that runs the model"]


def _ports(stated: DataFormat) -> tuple[tuple[str, Port, Port] | None, list[str]]:
    """Return the name of the image, the image and the answer."""
    if any(port.type in _NOISE or port.format in _NOISE for port in stated.inputs.values()):
        return None, ["the model makes images out of noise; such models are not run here"]
    found = [
        f"metadata.json states {len(ports)} {side} ({', '.join(ports)}); models of one are run here"
        for side, ports in (("inputs", stated.inputs), ("outputs", stated.outputs))
        if len(ports) > 1
    ]
    ((name, given), *_) = stated.inputs.items()
    (answer, *_) = stated.outputs.values()
    if len(given.spatial_shape) not in (2, 3):
        found.append(
            f"the input has {len(given.spatial_shape)} spatial axes; 2 or 3 are understood"
        )
    if given.num_channels == 0:
        found.append("the input has no channel")
    return (None, found) if found else ((name, given, answer), [])


def _kind(given: Port, answer: Port, stated: Stated) -> tuple[Kind | None, list[str]]:
    if stated.kind is not None:
        return stated.kind, []
    words = {answer.type.lower(), answer.format.lower()}
    # a shape as long as the input's, and no (1, classes)
    is_image = len(answer.spatial_shape) == len(given.spatial_shape)
    is_image = is_image and answer.spatial_shape[:1] != (1,)
    if words & _BOXES:
        return Kind.DETECTION, []
    if "segmentation" in words or (is_image and words & _LABEL_MAPS):
        return Kind.SEGMENTATION, []
    if words & _SCORES and not is_image:
        return Kind.CLASSIFICATION, []
    if is_image and words <= _IMAGES:
        return Kind.RESTORATION, []
    said = f"type {answer.type!r}, format {answer.format!r}"
    kinds = ", ".join(kind for kind in Kind if kind.is_learned)
    return None, [f"the output of {said} is not known; state --kind if it is one of {kinds}"]


def _modalities(given: Port, stated: Stated) -> tuple[tuple[str, ...], list[str]]:
    if stated.modalities:
        wrong = [one for one in stated.modalities if not _DICOM_MODALITY.fullmatch(one)]
        return stated.modalities, [f"--modality {one!r} is no DICOM modality" for one in wrong]
    words = [word for word in re.split(r"[\s,;/|&+]+", (given.modality or "").lower()) if word]
    known = [code for word in words for code in MODALITIES.get(word, ())]
    if known and all(word in MODALITIES for word in words):
        return tuple(dict.fromkeys(known)), []
    said = "no modality" if given.modality is None else f"the modality {given.modality!r}"
    return (), [f"the metadata states {said}; state DICOM's with --modality, e.g. --modality CT"]


def _labels(kind: Kind, answer: Port, stated: Stated) -> tuple[list[dict[str, Any]], list[str]]:
    if kind is Kind.RESTORATION:
        return [], []
    if stated.labels:
        return _numbered(stated.labels, kind), []
    names = answer.channel_names
    if names and _BACKGROUND.fullmatch(names[0]) and kind is Kind.SEGMENTATION:
        names = names[1:]
    if not names:
        sentence = "the metadata names no labels (outputs, channel_def); state them with --label"
        return [], [sentence]
    return _numbered(names, kind), []


def _numbered(names: Sequence[str], kind: object) -> list[dict[str, Any]]:
    # 0 is the background of a label map
    first = 1 if kind in _MASKS else 0
    return [{"number": number, "name": name} for number, name in enumerate(names, first)]


def _outputs(kind: Kind, answer: Port, labels: Sequence[object]) -> frozenset[int]:
    """Return how many channels the network may answer with; empty where that says nothing."""
    if kind is Kind.SEGMENTATION:
        # with a background, or label by label; label values of one channel are decoded by then
        return frozenset({len(labels), len(labels) + 1})
    if kind is Kind.CLASSIFICATION:
        # a single score tells two classes apart
        return frozenset({len(labels), 1} if len(labels) == 2 else {len(labels)})
    return frozenset({answer.num_channels} if kind is Kind.RESTORATION else ())


def _options(document: Document, input_name: str, stated: Stated) -> dict[str, Any]:
    chosen = {"image_key": following.text_at(document, "image_key") or input_name}
    if stated.activation is not None:
        chosen["activation"] = stated.activation
    return chosen
