"""What a network takes beside images: which series are there, and what is known of the patient.

Both go by name: ``present``, bool (batch, channels); ``values``, float, and ``known``, bool
(batch, values). What is not known is 0 and never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from pipeline.dicom.patient import Patient
from pipeline.models import networks
from pipeline.models.spec import SEXES, ModelSpec, TableValue
from pipeline.volume import Channels, Image, Input, Volume

NOTHING: Final[Mapping[str, Tensor]] = {}


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What belongs to one input."""

    #: (1, ...) by the argument of the network
    tensors: Mapping[str, Tensor] = field(repr=False)
    #: of each value of the table, whether it is known: all that a report may say of it
    known: Mapping[str, bool]

    def report(self) -> dict[str, Any]:
        """Return what the run report says of it: JSON values."""
        return {"table": dict(self.known)} if self.known else {}


def of(image: Input | Channels, spec: ModelSpec) -> Beside:
    """Return what the network of a model takes beside this input."""
    tensors: dict[str, Tensor] = {}
    if networks.takes_missing(spec.network):
        whole = (True,) * spec.input.channels
        present = image.present if isinstance(image, Channels) else whole
        tensors["present"] = torch.tensor([present])
    if not spec.input.table:
        return Beside(tensors=tensors, known={})
    patient = _patient(image)
    columns = {value.name: _columns(value, patient) for value in spec.input.table}
    flat = [column for found in columns.values() for column in found]
    tensors["values"] = torch.tensor([[0.0 if one is None else one for one in flat]])
    tensors["known"] = torch.tensor([[one is not None for one in flat]])
    return Beside(
        tensors=tensors, known={name: None not in found for name, found in columns.items()}
    )


def rows(every: Sequence[Beside], frames: Sequence[int]) -> dict[str, Tensor]:
    """Return one row for each frame of several inputs of one model, by argument.

    Args:
        every: what belongs to each input.
        frames: how many frames each has.

    """
    return {
        name: torch.cat(
            [one.tensors[name].expand(count, -1) for one, count in zip(every, frames, strict=True)]
        )
        for name in every[0].tensors
    }


def moved(
    beside: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return tensors on a device, numbers in the format that the network computes in."""
    return {
        name: one.to(device, dtype if one.is_floating_point() else one.dtype)
        for name, one in beside.items()
    }


def _patient(image: Input | Channels) -> Patient:
    """Return what the header of the first series tells."""
    first: Volume | Image = image.volumes[0] if isinstance(image, Channels) else image
    return Patient() if first.header is None else Patient.of(first.header.template)


def _columns(value: TableValue, patient: Patient) -> list[float | None]:
    """Return the columns of one value, None where it is not known."""
    if value.name == "sex":
        return [None if patient.sex is None else float(patient.sex == sex) for sex in SEXES]
    stated: float | None = getattr(patient, value.name)
    return [None if stated is None else (stated - value.mean) / value.scale]
