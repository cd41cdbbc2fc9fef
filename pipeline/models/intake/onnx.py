"""Which operators an ONNX file needs, read from its protobuf without running or loading it.

``onnx.proto3``: field 8 of ModelProto is ``opset_import``, field 1 of OperatorSetIdProto is
``domain``. The domains of ONNX itself are plain; any other is code that somebody must install.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

_OPSETS: Final = 8
_DOMAIN: Final = 1
_PLAIN: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: fields of a model, and bytes of one set of operators: both are few
_MOST_FIELDS: Final = 10_000
_LONGEST: Final = 10_000


def custom_domains(file: BinaryIO) -> list[str]:
    """Return the domains of operators that are not ONNX's own, in their order.

    What is no ONNX file has none: it is refused for other reasons.
    """
    try:
        sets = [value for number, value in _fields(file) if number == _OPSETS]
        return [name for name in map(_domain, sets) if name not in _PLAIN]
    except (EOFError, ValueError):
        return []


def _domain(message: bytes) -> str:
    import io

    named = [value for number, value in _fields(io.BytesIO(message)) if number == _DOMAIN]
    return named[-1].decode("ascii", "backslashreplace")[:100] if named else ""


def _fields(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of the short fields of a message; long ones are passed over."""
    for _ in range(_MOST_FIELDS):
        try:
            key = _varint(file)
        except EOFError:
            return
        match key & 7:
            case 0:
                _varint(file)
            case 1:
                file.seek(8, 1)
            case 5:
                file.seek(4, 1)
            case 2:
                length = _varint(file)
                if length <= _LONGEST:
                    yield key >> 3, file.read(length)
                else:
                    file.seek(length, 1)
            case _:
                raise ValueError("no wire type of protobuf")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("no varint")
