"""Prepared inputs: what is done to an image before models see it, under a name of its own."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.analysis.steps import Name
from pipeline.preprocess.steps import ImageStep

_STRICT: Final = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Preparation:
    """An input made ready by image steps, one after the other. Answers return to the input."""

    of: Name
    steps: Annotated[tuple[ImageStep, ...], Field(min_length=1, max_length=32)]
