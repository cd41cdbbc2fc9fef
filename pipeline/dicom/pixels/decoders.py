"""Which decoders of this installation read which transfer syntax (PS3.5 section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import UID, AllTransferSyntaxes, JPEGExtended12Bit

from pipeline.dicom.pixels.codecs import in_order

NATIVE: Final = "native"
_EIGHT_BITS: Final = "8 bits only; for 12 bits: pip install 'nightshift[gpl-decoders]' (GPL v3)"


@dataclass(frozen=True, kw_only=True)
class TransferSyntax:
    """One transfer syntax and what would decode its pixels here."""

    uid: str
    name: str
    #: in the order in which they are tried; empty when nothing here can
    decoders: tuple[str, ...]
    #: decoders that are not installed, and what each of them asks for
    missing: tuple[str, ...]
    #: what those decoders cannot read of it; empty when nothing is known
    limit: str = ""


def table() -> list[TransferSyntax]:
    """Return every transfer syntax of still images, in the order of the standard's registry."""
    rows = ((uid, _decoder(uid)) for uid in AllTransferSyntaxes)
    return [_row(uid, decoder) for uid, decoder in rows if decoder is not None]


def _decoder(uid: UID) -> Decoder | None:
    """Return pydicom's decoder, or None: it has none for video."""
    try:
        return get_decoder(uid)
    except NotImplementedError:
        return None


def _row(uid: UID, decoder: Decoder) -> TransferSyntax:
    found: Sequence[str] = (
        in_order(decoder.available_plugins)
        if uid.is_compressed and uid.is_encapsulated
        else (NATIVE,)
    )
    return TransferSyntax(
        uid=str(uid),
        name=uid.name,
        decoders=tuple(found),
        missing=tuple(decoder.missing_dependencies),
        limit=_EIGHT_BITS if uid == JPEGExtended12Bit and "pylibjpeg" not in found else "",
    )
