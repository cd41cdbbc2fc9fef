"""From one job to the values that are watched: tags, intensities and what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

#: of the attributes of a series; no free text, which may name a person
_WORDS: Final = (
    "manufacturer",
    "model_name",
    "body_part",
    "kernel",
    "contrast",
    "photometric",
    "orientation",
    "transfer_syntax",
    "bits_stored",
)
_NUMBERS: Final = ("slice_thickness_mm", "field_strength_t", "rows", "columns", "slices", "frames")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What is watched of one job: numbers and words, by ``group.name``."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


def observe(
    attributes: Mapping[str, Any],
    intensity: Mapping[str, float],
    results: Sequence[Mapping[str, Any]],
) -> Observation:
    """Return what is watched of a job.

    Args:
        attributes: of the series that it was about, as a scan keeps them.
        intensity: as ``intensities.summarise`` gave it.
        results: step, kind, label, value, score and is_top of each statement.

    """
    numbers = {f"tag.{name}": attributes.get(name) for name in _NUMBERS}
    for axis, spacing in zip("zyx", attributes.get("spacing_mm") or (), strict=False):
        numbers[f"tag.spacing_{axis}_mm"] = spacing
    for axis, spacing in zip("yx", attributes.get("pixel_spacing_mm") or (), strict=False):
        numbers[f"tag.pixel_spacing_{axis}_mm"] = spacing
    numbers |= {f"intensity.{name}": value for name, value in intensity.items()}
    said, words = _said(results)
    numbers |= said
    words |= {f"tag.{name}": str(attributes.get(name) or "") for name in _WORDS}
    known = {name: float(value) for name, value in numbers.items() if value is not None}
    return Observation(numbers=known, words=words)


def _said(results: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float | None], dict[str, str]]:
    numbers: dict[str, float | None] = {}
    words: dict[str, str] = {}
    for result in results:
        place = f"output.{result['step']}.{result['label']}"
        match result["kind"]:
            case "classification":
                numbers[f"{place}.score"] = result["score"]
                if result["is_top"]:
                    words[f"output.{result['step']}.answer"] = result["label"]
            case "segment":
                words[f"{place}.found"] = "yes"
                numbers[f"{place}.size"] = (numbers.get(f"{place}.size") or 0) + result["value"]
            case "detection":
                words[f"{place}.found"] = "yes"
                numbers[f"{place}.count"] = (numbers.get(f"{place}.count") or 0) + 1
                best = numbers.get(f"{place}.best_score") or 0
                numbers[f"{place}.best_score"] = max(best, result["score"])
            case "measurement":
                numbers[f"{place}.value"] = result["value"]
    return numbers, words
