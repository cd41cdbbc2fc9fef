"""Who derived an object, and the identifiers that follow from it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

_NAMESPACE = uuid.UUID("c1a7a1de-7b8f-5d39-a2f4-3f3d0d5b9e10")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything a written object says about its origin.

    The same provenance gives the same UIDs and dates, so a rerun of a job writes the same bytes.
    """

    job_id: str
    step: str
    #: which of the step's inputs; empty where there is one. Parts of one series, such as single
    #: images, are inputs of their own: a series UID alone does not tell them apart
    source: str = ""
    model_name: str
    model_version: str
    model_digest: str
    #: learned weights, or rules written by hand
    is_learned: bool = True
    is_demonstration: bool = False
    #: version of Nightshift
    software_version: str
    #: creation of the job, not of the file: a rerun must not differ
    created_at: datetime

    def uid(self, what: str) -> str:
        """Return a UID under 2.25 (PS3.5 B.2) for one thing of this step, e.g. 'instance'."""
        scope = f"{self.job_id}/{self.step}/{self.source}"
        material = f"{scope}/{self.model_digest}/{what}"
        return f"2.25.{uuid.uuid5(_NAMESPACE, material).int}"
