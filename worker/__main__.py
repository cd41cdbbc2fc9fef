"""``python -m worker ROLE``: one role of a worker machine, or one verb of the pipeline.

Children of the reader's forkserver import this module again, so it imports nothing heavy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from worker.queue.loading import loading

#: word -> module and function that answers for it; imported when asked for
ROLES = {
    "infer": "worker.roles:infer",
    "desk": "worker.roles:desk",
    "trainer": "worker.roles:trainer",
    "beat": "worker.roles:beat",
    "flower": "worker.roles:flower",
}
VERBS = {
    "plan": "worker.verbs:plan",
    "check-analysis": "worker.checking:check_analysis",
    "analysis-schema": "worker.checking:analysis_schema",
    "register": "worker.verbs:register",
    "register-analysis": "worker.verbs:register_analysis",
    "check-model": "worker.registering:check_model",
    "register-model": "worker.registering:register_model",
    "tune-model": "worker.tuning:tune_model",
    "verify-gate": "worker.verifying:verify_gate",
    "gate-again": "worker.gating_again:gate_again",
    "look-at-drift": "worker.looking:look_at_drift",
    "export-corrections": "worker.exporting:export_corrections",
    "decoders": "worker.decoders:say",
    "make-manifest": "worker.manifests:make_manifest",
    "check-manifest": "worker.manifests:check_manifest",
    "deidentify": "worker.deidentifying:deidentify",
    "reidentify": "worker.deidentifying:reidentify",
}


def main(argv: list[str] | None = None) -> int:
    """Parse the words after ``python -m worker`` and hand over. Returns the exit status."""
    words = _parser().parse_args(argv)
    module, _, function = (ROLES | VERBS)[words.word].partition(":")
    with loading():
        answer: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return answer(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker", description="Worker roles and verbs.")
    words = parser.add_subparsers(dest="word", required=True)
    for role in ROLES:
        words.add_parser(role, help=f"run the {role} role until stopped")
    plan = words.add_parser("plan", help="print what would be analysed, as JSON; no database")
    plan.add_argument("source")
    plan.add_argument("--analysis", action="append", default=[], metavar="NAME")
    check = words.add_parser("check-analysis", help="check an analysis document")
    check.add_argument("path", type=Path)
    words.add_parser("analysis-schema", help="print the JSON schema of analysis documents")
    words.add_parser("register", help="register the shipped models and analyses")
    own = words.add_parser("register-analysis", help="register an analysis document")
    own.add_argument("path", type=Path)
    own.add_argument("--by", required=True, help="who registers it, for the audit")
    look = words.add_parser("look-at-drift", help="look whether what comes in has drifted")
    look.add_argument("--analysis", help="default: all")
    look.add_argument("--since", type=datetime.fromisoformat, help="of the reference")
    look.add_argument("--until", type=datetime.fromisoformat, help="of the reference")
    corrected = words.add_parser("export-corrections", help="write corrected cases down")
    corrected.add_argument("--analysis", required=True)
    corrected.add_argument("--model", required=True)
    corrected.add_argument("out", type=Path)
    words.add_parser("decoders", help="print which transfer syntaxes can be read, as JSON")
    _add_manifests(words)
    _add_models(words)
    _add_deidentification(words)
    return parser


def _add_manifests(words: Any) -> None:
    """Add what makes a list of training cases, and what looks one through."""
    make = words.add_parser("make-manifest", help="write the manifest of a folder")
    make.add_argument("folder", type=Path)
    make.add_argument("--layout", required=True)
    make.add_argument("--out", type=Path, required=True)
    make.add_argument("--alike", type=float)
    check = words.add_parser("check-manifest", help="print every fault of a manifest, as JSON")
    check.add_argument("recipe", type=Path)
    check.add_argument("--manifest", type=Path, required=True)


def _add_models(words: Any) -> None:
    """Add what looks at a bundle, takes one in, and measures one that was taken in."""
    tune = words.add_parser("tune-model", help="measure how a bundle runs fastest, as JSON")
    tune.add_argument("path", type=Path)
    tune.add_argument("--seconds", type=float, required=True)
    verify = words.add_parser("verify-gate", help="compute a stored gate again, as JSON")
    again = words.add_parser("gate-again", help="hold a version against what is active now")
    again.add_argument("--by", required=True)
    for verb in (verify, again):
        verb.add_argument("name")
        verb.add_argument("version")
    check = words.add_parser("check-model", help="say what is wrong with a bundle, as JSON")
    register = words.add_parser("register-model", help="register a bundle as a candidate")
    for verb in (check, register):
        verb.add_argument("path", type=Path)
        verb.add_argument("--name")
        verb.add_argument("--title")
        verb.add_argument("--kind")
        verb.add_argument("--modality", action="append", default=[])
        verb.add_argument("--label", action="append", default=[])
        verb.add_argument("--activation")
    register.add_argument("--promote", metavar="WHY", help="make it the active version, and why")
    register.add_argument("--by", required=True, help="who registers it, for the audit")


def _add_deidentification(words: Any) -> None:
    """Add the two verbs that make copies, there and back."""
    there = words.add_parser("deidentify", help="copy a source without who it is of (PS3.15 E)")
    there.add_argument("--option", action="append", default=[], metavar="NAME")
    there.add_argument("--pixel-rules", type=Path)
    there.add_argument("--map", type=Path)
    back = words.add_parser("reidentify", help="give results their original identifiers")
    back.add_argument("--map", type=Path, required=True)
    for verb in (there, back):
        verb.add_argument("source")
        verb.add_argument("--out", type=Path, required=True)
        verb.add_argument("--key-file", type=Path)
        verb.add_argument("--by", required=True, help="who asks for it, for the audit")


if __name__ == "__main__":
    sys.exit(main())
