"""The secret that everything new is derived from: same key, same names; without it, no way back.

Every derivation is HMAC-SHA256 over a word for its purpose and the original, so that one never
tells anything about another. Two copies made with the same key can be joined; copies made with
different keys cannot.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import os
import secrets
import stat
import uuid
from pathlib import Path
from typing import Final

LENGTH: Final = 32
#: days by which the dates of a patient move into the past: 1 to 10 years
_LEAST_SHIFT, _SHIFTS = 365, 3287


class KeyRefused(ValueError):
    """The key file is not one, or others may read it."""


class Key:
    """32 secret bytes, and what is derived from them. Pickles as its bytes; never shown."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != LENGTH:
            raise KeyRefused("the key is not of 32 bytes")
        self._secret = secret
        self._uids = functools.lru_cache(maxsize=65536)(self._new_uid)

    def __reduce__(self) -> tuple[type[Key], tuple[bytes]]:
        """Go to a child process."""
        return type(self), (self._secret,)

    def __repr__(self) -> str:
        """Say nothing."""
        return "Key()"

    def derive(self, purpose: str, original: str) -> bytes:
        """Return 32 bytes for one purpose."""
        text = f"{purpose}\0{original}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, text, hashlib.sha256).digest()

    def uid(self, original: str) -> str:
        """Return the UID that stands for another one (PS3.5 B.2: 2.25 and a UUID)."""
        return self._uids(original)

    def _new_uid(self, original: str) -> str:
        return f"2.25.{uuid.UUID(bytes=self.derive('uid', original)[:16], version=4).int}"

    def pseudonym(self, patient: str) -> str:
        """Return the id and name that stand for a patient: 17 letters and digits."""
        return "P" + base64.b32encode(self.derive("patient", patient)[:10]).decode()

    def shift(self, patient: str) -> int:
        """Return the days that are added to every date of a patient: always into the past."""
        number = int.from_bytes(self.derive("dates", patient)[:8], "big")
        return -(_LEAST_SHIFT + number % _SHIFTS)

    def word(self, purpose: str, original: str) -> str:
        """Return eight hexadecimal digits that stand for a text."""
        return self.derive(purpose, original)[:4].hex()

    @property
    def fingerprint(self) -> str:
        """Return what tells two keys apart and says nothing of either."""
        return self.derive("fingerprint", "")[:8].hex()


def read_key(path: Path) -> Key:
    """Read a key file: 64 hexadecimal digits, readable by its owner alone.

    Raises:
        KeyRefused: it is not of that form, or others may read it.
        OSError: it cannot be read.

    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        text = file.read(1024)
    if stat.S_IMODE(mode) & 0o077:
        raise KeyRefused("the key file may be read by others; `chmod 600` it")
    try:
        return Key(bytes.fromhex(text.decode("ascii").strip()))
    except ValueError:
        raise KeyRefused("the key file does not hold 64 hexadecimal digits") from None


def make_key(path: Path) -> None:
    """Write a new key that its owner alone may read; one that is there stays.

    Raises:
        OSError: it cannot be written.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_bytes(LENGTH).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
