"""What inference needs: a device, decoders, and the models that ship."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from api.cli.checks.finding import Finding, ask
from api.cli.printing import size
from worker.queue.devices import allocator as worker_allocator

ASK_TORCH = """
import json, torch
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"threads": torch.get_num_threads(), "cuda": torch.version.cuda,
                  "gpus": [[g.name, g.total_memory] for g in gpus]}))
"""


def devices() -> Iterator[Finding]:
    """Say on what models would run, by asking torch in a child process."""
    area = "Devices"
    if smi := shutil.which("nvidia-smi"):
        query = "--query-gpu=name,driver_version,memory.total"
        for line in ask([smi, query, "--format=csv,noheader"], seconds=20).splitlines():
            yield Finding(area, "driver", "ok", line)
    if find_spec("torch") is None:
        mend = "pip install 'nightshift[worker]'"
        yield Finding(area, "torch", "warning", "torch is missing: no study is analysed here", mend)
        return
    answer = ask([sys.executable, "-P", "-c", ASK_TORCH], seconds=120)
    if not answer:
        yield Finding(area, "torch", "problem", "torch does not load", "Reinstall torch.")
        return
    said = json.loads(answer.splitlines()[-1])
    for name, memory in said["gpus"]:
        yield Finding(area, "gpu", "ok", f"{name}, {size(memory)}, CUDA {said['cuda']}")
    if not said["gpus"]:
        mend = (
            "A GPU is present, but this torch cannot use it: install a CUDA build." if smi else ""
        )
        found = f"no GPU; torch uses {said['threads']} threads of the processor"
        yield Finding(area, "processor", "warning" if smi else "ok", found, mend)
    yield allocator(area)


def allocator(area: str) -> Finding:
    """Say how inference processes keep memory: the process that starts them sets it."""
    library, version = platform.libc_ver()
    if library != "glibc":
        found = "not glibc: large blocks go back between windows, which takes up to half the speed"
        return Finding(area, "memory", "warning", found, "Run on a system with glibc.")
    words = " ".join(f"{name}={value}" for name, value in worker_allocator().items())
    return Finding(area, "memory", "ok", f"glibc {version}; workers start with {words}")


def decoders() -> Iterator[Finding]:
    """Say for each transfer syntax which decoder reads it, by asking the reader's own table."""
    area = "Decoders"
    if find_spec("pydicom") is None:
        return
    answer = ask([sys.executable, "-P", "-m", "worker", "decoders"], seconds=60)
    if not answer:
        mend = "Run `python -m worker decoders` to see why."
        yield Finding(area, "decoders", "problem", "the table of decoders cannot be read", mend)
        return
    for row in json.loads(answer):
        found = ", ".join(row["decoders"])
        mend = row["limit"] if found else "Install one of: " + "; ".join(row["missing"])
        name = row["name"].replace(" Image Compression", "")
        yield Finding(area, name, "warning" if mend else "ok", found or "none", mend)


def shipped_models() -> Iterator[Finding]:
    """Say which models come with this installation, and whether they are whole."""
    import models

    area = "Shipped models"
    folders = [Path(root) for root in models.__path__]
    found = sorted(card for root in folders for card in root.glob("*/configs/metadata.json"))
    if not found:
        yield Finding(area, "models", "problem", "none", "Install nightshift again.")
    for card in found:
        yield _bundle(area, card)


def _bundle(area: str, card: Path) -> Finding:
    """Say what one shipped bundle states about itself."""
    name = card.parent.parent.name
    try:
        stated = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        return Finding(area, name, "problem", f"unreadable: {broken}", "Install nightshift again.")
    return Finding(area, name, "ok", f"version {stated.get('version', '?')}")
