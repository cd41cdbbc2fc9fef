"""One training in a process of its own: ``python -m pipeline.training ORDER.json``.

Progress goes to standard output as JSON lines. SIGTERM writes a checkpoint and ends with
``PREEMPTED``; the same order starts again where it stopped, also after kill -9. Under torchrun
(``pipeline.training.launch``) it is one of several processes, of which the first one speaks; of
what went wrong, each that met it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import NO_ROOM, Interrupted, PipelineError, StudyRejected, TrainingRefused
from pipeline.models.bundle import BundleRefused
from pipeline.reasons import Reason
from pipeline.training import planning, ranks, recipe
from pipeline.training.attempt import Attempt, Order, Stop
from pipeline.training.evaluating import evaluate
from pipeline.training.learning import learn
from pipeline.training.live import Say
from pipeline.training.recipe import Recipe

DONE = 0
FAILED = 1
REFUSED = 3
PREEMPTED = 75


def main(arguments: list[str]) -> int:
    """Run the order in a file. Returns an exit code; the last line says how it ended."""
    order = Order(**json.loads(Path(arguments[0]).read_text()))
    try:
        run(order, _say, Stop())
    except Interrupted:
        return PREEMPTED
    except (TrainingRefused, StudyRejected, BundleRefused) as refused:
        _say({"event": "refused", "reason": refused.reason, "detail": refused.sentence})
        return REFUSED
    except PipelineError as failed:
        _say({"event": "failed", "reason": failed.reason, "detail": failed.sentence})
        return FAILED
    except (MemoryError, torch.OutOfMemoryError):
        reason, detail = Reason.RUN_OUT_OF_MEMORY, "memory was used up; try a smaller batch"
        _say({"event": "failed", "reason": reason, "detail": detail})
        return FAILED
    except (OSError, RuntimeError) as error:
        if not _says_disk_full(error):
            raise
        reason, detail = Reason.RUN_DISK_FULL, "the disk of the store is full"
        _say({"event": "failed", "reason": reason, "detail": detail})
        return FAILED
    return DONE


def run(order: Order, say: Say, stop: Stop) -> None:
    """Learn, beside the other processes if there are any; then evaluate, alone.

    Raises:
        TrainingRefused: the recipe, the manifest or the loss.
        Interrupted: asked to stop.

    """
    if order.threads:
        torch.set_num_threads(order.threads)
    devices = order.devices()
    with ranks.joined(devices[0].type):
        number = ranks.number()
        with ranks.first_before_others():  # one decides by the memory that is free, all follow
            wanted = _recipe(order, devices[0], say)
        attempt = Attempt(
            order=order,
            recipe=wanted,
            device=devices[number],
            say=say if number == 0 else _keep_quiet,
            stop=stop,
        )
        if attempt.device.type == "cuda":
            torch.cuda.set_device(attempt.device)
        learned = learn(attempt)
    if number == 0:
        say({"event": "finished", **evaluate(attempt, learned)})


def _recipe(order: Order, device: torch.device, say: Say) -> Recipe:
    """Return the recipe; one that is asked to be made by its cases is made once and kept."""
    manifest = Path(order.manifest)
    if not planning.is_auto(order.recipe):
        return recipe_for(order.recipe, manifest, device)
    kept = Path(order.folder) / "recipe.json"
    if kept.exists():
        return recipe.check(json.loads(kept.read_text()))
    planned = recipe_for(order.recipe, manifest, device)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps(planned.stated()))
    partial.replace(kept)
    say({"event": "recipe", "recipe": planned.stated()})
    return planned


def recipe_for(document: object, manifest: Path, device: torch.device) -> Recipe:
    """Return the recipe that is stated, or what an automatic one comes to with these cases.

    Raises:
        TrainingRefused: the document says what it should not.
        ManifestInvalid: cases that an automatic recipe looks at are at fault.

    """
    if not planning.is_auto(document):
        return recipe.check(document)
    return planning.plan(
        document,
        manifest,
        cores=torch.get_num_threads(),
        memory=_memory(device),
        has_gpu=device.type == "cuda",
    )


def _memory(device: torch.device) -> int:
    """Return the bytes that a step of learning may use: half of what is free now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _says_disk_full(error: BaseException | None) -> bool:
    """Whether there was no room, also where torch says something else of what it met."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False


def _keep_quiet(_: Mapping[str, Any]) -> None:
    """Say nothing: the first process speaks for all."""


def _say(event: Mapping[str, Any]) -> None:
    """Write one line as a whole; a reader that is gone ends the process by SIGPIPE."""
    os.write(sys.stdout.fileno(), (json.dumps(event) + "\n").encode())
