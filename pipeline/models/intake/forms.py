"""What a file of a bundle is, by its name and first bytes, and what becomes of it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

#: a pickle of protocol 2 to 5; a ZIP; gzip, bzip2, xz, zstd, 7z, RAR
_PICKLE: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_PACKED: Final = (b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_PACKED_TOO: Final = (b"7z\xbc\xaf\x27\x1c", b"Rar!")
_COMPILED: Final = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_NUMPY: Final = b"\x93NUMPY"
#: as many bytes of a file as ``judge`` wants to see
HEAD: Final = 8

WEIGHTS: Final = frozenset({".safetensors", ".pt", ".pth", ".ckpt", ".bin"})
_TEXTS: Final = frozenset(
    {".md", ".rst", ".txt", ".json", ".yaml", ".yml", ".csv", ".conf", ".cfg", ".ini", ".toml"}
)
_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"})
_NAMES_WITHOUT_SUFFIX: Final = frozenset({"LICENSE", "LICENCE", "NOTICE", "COPYING", "README"})
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 _.+()-]{0,99}")
_DEEPEST: Final = 8

STATE_DICT: Final = "give a state dict, torch.save(network.state_dict(), ...), or safetensors"
TORCHSCRIPT: Final = f"is TorchScript, a program: {STATE_DICT}"
EXPORTED: Final = f"is an exported program (.pt2), whose loader unpickles: {STATE_DICT}"
ONNX: Final = f"is ONNX, which is not run here yet: {STATE_DICT}"
PICKLE: Final = f"is a pickle, and reading one runs what it contains: {STATE_DICT}"
_ENGINE: Final = f"is compiled for one device: {STATE_DICT}"
_NUMPY_SENTENCE: Final = "is a NumPy file, which may hold pickles: weights must be safetensors"
_ARCHIVE: Final = "is an archive inside the bundle: unpack it, or leave it out"
_SCRIPT: Final = "is a program; code of a bundle never runs here"
_LIBRARY: Final = "is compiled code; code of a bundle never runs here"
_NO_PART: Final = "is no part of a bundle"
_UNSAFE: Final = "has a name of other characters than letters, digits, blanks and _.+()-"

_BY_SUFFIX: Final = {
    **dict.fromkeys((".py", ".pyc", ".pyi", ".ipynb", ".sh", ".bash", ".bat", ".ps1"), _SCRIPT),
    **dict.fromkeys((".js", ".html", ".htm", ".svg"), _SCRIPT),
    **dict.fromkeys((".so", ".dll", ".dylib", ".exe", ".a", ".o"), _LIBRARY),
}
_EXPORTS: Final = {
    ".ts": TORCHSCRIPT,
    ".torchscript": TORCHSCRIPT,
    ".pt2": EXPORTED,
    ".onnx": ONNX,
    **dict.fromkeys((".plan", ".engine", ".trt"), _ENGINE),
}
_REFUSED: Final = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".dill"), PICKLE),
    **dict.fromkeys((".npy", ".npz"), _NUMPY_SENTENCE),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".whl", ".egg", ".jar"), _ARCHIVE),
}


class Fate(enum.StrEnum):
    """What becomes of a file."""

    KEPT = "kept"
    #: may be the weights; the configuration says which file is
    WEIGHTS = "weights"
    #: the network as a program: left out where weights are beside it, refused where none are
    EXPORT = "export"
    LEFT_OUT = "left out"
    REFUSED = "refused"


@dataclass(frozen=True)
class Judgement:
    """The fate of one file, and why, as what follows its name in a sentence."""

    fate: Fate
    why: str = ""


def judge(name: str, head: bytes) -> Judgement:
    """Say what becomes of a file.

    Args:
        name: relative to the bundle, "/" between folders.
        head: its first ``HEAD`` bytes.

    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix in _REFUSED:
        return Judgement(Fate.REFUSED, _REFUSED[suffix])
    if suffix in _EXPORTS:
        return Judgement(Fate.EXPORT, _EXPORTS[suffix])
    if suffix in _BY_SUFFIX:
        return Judgement(Fate.LEFT_OUT, _BY_SUFFIX[suffix])
    if suffix in WEIGHTS:
        return Judgement(Fate.WEIGHTS)
    if name.lower().endswith(".nii.gz"):
        return Judgement(Fate.LEFT_OUT, _NO_PART)
    return _by_content(head) or _by_place(path)


def _by_content(head: bytes) -> Judgement | None:
    """Judge what hides behind an innocent name."""
    if head.startswith(_PICKLE):
        return Judgement(Fate.REFUSED, PICKLE)
    if head.startswith(_NUMPY):
        return Judgement(Fate.REFUSED, _NUMPY_SENTENCE)
    if head.startswith(_PACKED + _PACKED_TOO):
        return Judgement(Fate.REFUSED, _ARCHIVE)
    if head.startswith(_COMPILED):
        return Judgement(Fate.LEFT_OUT, _LIBRARY)
    return None


def _by_place(path: PurePosixPath) -> Judgement:
    """Keep texts and pictures under plain names, and nothing else."""
    if len(path.parts) > _DEEPEST or not all(_SAFE.fullmatch(part) for part in path.parts):
        return Judgement(Fate.LEFT_OUT, _UNSAFE)
    if path.suffix.lower() in _TEXTS | _PICTURES or path.name in _NAMES_WITHOUT_SUFFIX:
        return Judgement(Fate.KEPT)
    return Judgement(Fate.LEFT_OUT, _NO_PART)
