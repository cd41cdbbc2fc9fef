"""What a claimed training asks for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from pipeline.training.gate_order import GateOrder
from records.corrections import UpTo
from worker.services import Services
from worker.store import PREPARED, TENSORBOARD


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the row of a training asks for, and where its files lie."""

    training_id: UUID
    recipe: dict[str, Any] = field(repr=False)
    manifest: str = field(repr=False)
    #: folder of the manifest as it was asked for: files of weights lie there, whatever joins it
    weights: Path = field(repr=False)
    #: what joins the manifest; None = nothing
    corrections: UpTo | None = None
    version: str
    folder: Path
    #: an own place for each attempt: an attempt that was given up for lost may still write
    bundle: Path
    gate: GateOrder

    def document(self, services: Services) -> dict[str, Any]:
        """Return what the process of the training reads: JSON values."""
        return {
            "recipe": self.recipe,
            "manifest": self.manifest,
            "weights": str(self.weights),
            "folder": str(self.folder),
            "bundle": str(self.bundle),
            "version": self.version,
            "device": services.settings.device,
            "threads": services.settings.threads,
            "tensorboard": str(services.store.root / TENSORBOARD / str(self.training_id)),
            "deidentify_key": str(services.settings.deidentify_key_path),
            "prepared": _prepared(services),
            # among the versions it is held against is the one whose weights it begins with
            "sources": {f"{one.model}@{one.version}": one.bundle for one in self.gate.line},
            "gate": asdict(self.gate),
        }


def _prepared(services: Services) -> str:
    """Return the folder of prepared cases that trainings share; empty where they share none."""
    return str(services.store.root / PREPARED) if services.settings.prepared_bytes else ""
