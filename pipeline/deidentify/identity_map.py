"""The identity map: what was what, encrypted, so that results can be sent back.

The file holds everything that de-identification took away. It is sealed with AES-256-GCM under a
key derived from the key of the copy; without that key it tells nothing but its size.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.deidentify.keys import Key

_MAGIC: Final = b"NIGHTSHIFT-MAP-1"
_NONCE: Final = 12
_LARGEST: Final = 2**31


class MapRefused(ValueError):
    """The file is no identity map, was changed, or belongs to another key."""


class IdentityMap:
    """New UIDs with their originals; patients and studies with what their modules said."""

    def __init__(self, *, has_moved_dates: bool = False) -> None:
        #: whether dates of the copies are those of the originals, shifted
        self.has_moved_dates = has_moved_dates
        #: new UID -> original
        self.uids: dict[str, str] = {}
        #: new StudyInstanceUID -> {"pseudonym", "module"}
        self.studies: dict[str, dict[str, Any]] = {}
        #: pseudonym -> {"shift", "module"}
        self.patients: dict[str, dict[str, Any]] = {}

    def add(self, originals: Mapping[str, Any]) -> None:
        """Add what one instance was, as ``originals_of`` says it."""
        self.uids |= originals["uids"]
        study = {
            "pseudonym": originals["pseudonym"],
            "module": originals["study_module"],
        }
        self.studies.setdefault(originals["study"], study)
        patient = {"shift": originals["shift"], "module": originals["patient_module"]}
        self.patients.setdefault(originals["pseudonym"], patient)

    def write(self, path: Path, key: Key) -> None:
        """Seal the map into a file that its owner alone may read, all of it or nothing.

        Raises:
            OSError: it cannot be written.

        """
        document = {
            "has_moved_dates": self.has_moved_dates,
            "uids": self.uids,
            "studies": self.studies,
            "patients": self.patients,
        }
        plain = zlib.compress(json.dumps(document, sort_keys=True).encode())
        nonce = secrets.token_bytes(_NONCE)
        sealed = _MAGIC + nonce + _cipher(key).encrypt(nonce, plain, _MAGIC)
        waiting = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        waiting.rename(path)


def read_map(path: Path, key: Key) -> IdentityMap:
    """Open a sealed map.

    Raises:
        MapRefused: it is none, was changed, or was sealed with another key.
        OSError: it cannot be read.

    """
    sealed = path.read_bytes()
    if not sealed.startswith(_MAGIC):
        raise MapRefused("the file is no identity map")
    nonce, body = sealed[len(_MAGIC) : len(_MAGIC) + _NONCE], sealed[len(_MAGIC) + _NONCE :]
    try:
        plain = _cipher(key).decrypt(nonce, body, _MAGIC)
    except (InvalidTag, ValueError):
        sentence = "the identity map was changed, or belongs to another key"
        raise MapRefused(sentence) from None
    document = json.loads(zlib.decompressobj().decompress(plain, _LARGEST))
    found = IdentityMap(has_moved_dates=document["has_moved_dates"])
    found.uids, found.studies = document["uids"], document["studies"]
    found.patients = document["patients"]
    return found


def _cipher(key: Key) -> AESGCM:
    return AESGCM(key.derive("identity map", ""))
