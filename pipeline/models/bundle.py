"""Model folders in MONAI bundle layout: read, checked, digested, written. Data only, never code.

A bundle holds ``configs/metadata.json``, ``docs/README.md`` (its card), ``LICENSE`` and, for models
with weights, ``models/model.safetensors``. Pickles (``.pt``, ``.pth``, TorchScript ...) are refused
unopened: loading one runs what it contains. This module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError
from pipeline.models import metadata
from pipeline.models.spec import Calibration, ModelSpec
from pipeline.reasons import Reason

if TYPE_CHECKING:
    from torch import Tensor

METADATA = "configs/metadata.json"
WEIGHTS = "models/model.safetensors"
CARD = "docs/README.md"
LARGEST_METADATA_BYTES = 1_000_000
_CODE_SUFFIXES = frozenset(
    {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".ts", ".bin", ".joblib", ".npy", ".npz", ".zip"}
)
#: protocol 2 to 5 pickles begin with 0x80 and the protocol; torch.save makes a zip
_CODE_MAGICS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


class BundleRefused(PipelineError):
    """A bundle that cannot be trusted or does not hold together. ``faults`` lists everything."""

    reason = Reason.MODEL_UNAVAILABLE

    def __init__(self, faults: str | list[str], reason: Reason | None = None) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("the bundle is refused: " + "; ".join(self.faults), reason)

    def __reduce__(self) -> tuple[type[BundleRefused], Any]:
        """Survive the way back from a child process with the faults still apart."""
        return type(self), (self.faults, self.reason)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A checked bundle."""

    spec: ModelSpec
    folder: Path

    @property
    def digest(self) -> str:
        """The sha256 over every file, in path order."""
        return self.spec.digest

    @property
    def weights(self) -> Path | None:
        """The file of the weights, None for a model without."""
        return self.folder / WEIGHTS if self.spec.has_weights else None


def load(folder: Path) -> Bundle:
    """Check a bundle and compute its digest. Weights are not loaded.

    Raises:
        BundleRefused: lists every fault: no or wrong metadata, missing weights or card, a link, a
            pickle, weights that are not safetensors.

    """
    if not folder.is_dir():
        raise BundleRefused("there is no such folder")
    files, faults = _files(folder)
    if METADATA not in files:
        raise BundleRefused([*faults, f"{METADATA} is missing"])
    faults += [f"{CARD} is missing"] * (CARD not in files)
    faults += _weight_faults(folder, files)
    spec, more = _read_metadata(folder, digest=_digest(folder, files) if not faults else "")
    faults += more
    if spec is not None:
        has_weights = WEIGHTS in files
        if spec.has_weights and not has_weights:
            faults.append(f"{WEIGHTS} is missing")
        if not spec.has_weights and has_weights:
            faults.append(f"{WEIGHTS} is there, but the metadata names no network")
        if spec.program is not None and spec.program not in files:
            faults.append(f"{spec.program} is missing")
    if faults or spec is None:
        raise BundleRefused(faults)
    return Bundle(spec=spec, folder=folder)


def digest(folder: Path) -> str:
    """Return the sha256 of a bundle: over path, length and bytes of every file, in path order."""
    files, _ = _files(folder)
    return _digest(folder, files)


def write(
    folder: Path,
    spec: ModelSpec,
    *,
    weights: Mapping[str, Tensor] | None,
    card: str,
    monai_keys: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle as a whole or not at all, and load it again.

    Args:
        folder: where the bundle will be; must not exist. Its parent must.
        spec: what the model states; ``digest`` is ignored.
        weights: the ``state_dict`` (of ``detector.network`` for detection), None without network.
        card: the text of ``docs/README.md``.
        monai_keys: MONAI's keys of metadata.json (description, authors, intended_use ...).
        files: more files by their path in the bundle, e.g. ``{"LICENSE": ..., "recipe.yaml": ...}``

    Raises:
        FileExistsError: ``folder`` exists.
        BundleRefused: what was to be written would not load.

    """
    if folder.exists():
        raise FileExistsError(f"there is a bundle at {folder.name} already")
    # in the same folder, so that the rename stays on one file system
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bundle-") as scratch:
        staged = Path(scratch) / "bundle"
        text = metadata.dump(spec, {**_software(), **(monai_keys or {})})
        contents = {**(files or {}), METADATA: text.encode(), CARD: card.encode()}
        if weights is not None:
            contents[WEIGHTS] = _encode(weights)
        for path, content in contents.items():
            _write_file(staged, path, content)
        written = load(staged)
        staged.rename(folder)
    _sync(folder.parent)
    return replace(written, folder=folder)


def copy(bundle: Bundle, folder: Path) -> Bundle:
    """Copy a bundle as a whole to ``folder``, which must not exist, and check the digest there.

    Raises:
        BundleRefused: the copy differs from the original.

    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bundle-") as scratch:
        staged = Path(scratch) / "bundle"
        shutil.copytree(bundle.folder, staged)
        if digest(staged) != bundle.digest:
            raise BundleRefused("a file changed while the bundle was copied")
        staged.rename(folder)
    _sync(folder.parent)
    return replace(bundle, folder=folder)


def calibrated(bundle: Bundle, folder: Path, calibration: Calibration, *, version: str) -> Bundle:
    """Copy a bundle to ``folder``, which must not exist, as a version that keeps a calibration.

    Raises:
        BundleRefused: a file changed meanwhile, or the model cannot keep what it is given.

    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bundle-") as scratch:
        staged = copy(bundle, Path(scratch) / "bundle").folder
        document = json.loads((staged / METADATA).read_text(encoding="utf-8"))
        document["version"] = version
        document["nightshift"]["calibration"] = asdict(calibration)
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        _write_file(staged, METADATA, text.encode())
        written = load(staged)
        staged.rename(folder)
    _sync(folder.parent)
    return replace(written, folder=folder)


def _files(folder: Path) -> tuple[list[str], list[str]]:
    """Return the paths of all files, sorted, and a fault for everything that must not be there."""
    paths, faults = [], []
    for entry in _walk(folder):
        path = entry.relative_to(folder).as_posix()
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            faults.append(f"{path} is not a regular file")
            continue
        paths.append(path)
        if entry.suffix.lower() in _CODE_SUFFIXES or _begins(entry, 4).startswith(_CODE_MAGICS):
            faults.append(f"{path} is a pickle or an archive; weights must be safetensors")
    return sorted(paths), faults


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, followlinks=False):
        for name in (*folders, *names):
            yield Path(root) / name


def _digest(folder: Path, files: list[str]) -> str:
    total = hashlib.sha256()
    for path in files:
        name = path.encode()
        size = (folder / path).stat().st_size
        # lengths keep two different layouts from giving the same stream of bytes
        total.update(len(name).to_bytes(8, "big") + name + size.to_bytes(8, "big"))
        with (folder / path).open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def _read_metadata(folder: Path, *, digest: str) -> tuple[ModelSpec | None, list[str]]:
    path = folder / METADATA
    if path.stat().st_size > LARGEST_METADATA_BYTES:
        return None, [f"{METADATA} is larger than {LARGEST_METADATA_BYTES} bytes"]
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None, [f"{METADATA} is not UTF-8"]
    return metadata.parse(text, digest=digest)


def _weight_faults(folder: Path, files: list[str]) -> list[str]:
    """Check that the weights are safetensors: eight bytes of length, then a JSON header."""
    if WEIGHTS not in files:
        return []
    size = (folder / WEIGHTS).stat().st_size
    with (folder / WEIGHTS).open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, 100_000_000):
            return [f"{WEIGHTS} is not a safetensors file"]
        try:
            header = json.loads(stream.read(length))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            return [f"{WEIGHTS} is not a safetensors file"]
    return [] if isinstance(header, dict) else [f"{WEIGHTS} is not a safetensors file"]


def _encode(weights: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save

    # clones: safetensors refuses tensors that share memory
    return save(
        {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    )


def _write_file(folder: Path, path: str, content: bytes) -> None:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise BundleRefused(f"{path} leads out of the bundle")
    target = folder / parts
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _begins(path: Path, count: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(count)


def _software() -> dict[str, str]:
    """Return the versions MONAI asks a bundle to state, where they are installed."""
    stated = {}
    for key, package in (("monai_version", "monai"), ("pytorch_version", "torch")):
        try:
            stated[key] = version(package)
        except PackageNotFoundError:
            continue
    return stated


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
