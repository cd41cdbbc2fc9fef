"""``python -m worker ROLE``: one role of a worker machine, or one verb of the pipeline.

Children of the reader's forkserver import this module again, so it imports nothing heavy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

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
    "check-analysis": "worker.verbs:check_analysis",
    "register": "worker.verbs:register",
    "register-analysis": "worker.verbs:register_analysis",
    "decoders": "worker.decoders:say",
}


def main(argv: list[str] | None = None) -> int:
    """Parse the words after ``python -m worker`` and hand over. Returns the exit status."""
    words = _parser().parse_args(argv)
    module, _, function = (ROLES | VERBS)[words.word].partition(":")
    answer: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return answer(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker", description="Worker roles and verbs.")
    words = parser.add_subparsers(dest="word", required=True)
    for role in ROLES:
        words.add_parser(role, help=f"run the {role} role until stopped")
    plan = words.add_parser("plan", help="print what would be analysed, as JSON; no database")
    plan.add_argument("source", type=Path)
    plan.add_argument("--analysis", action="append", default=[], metavar="NAME")
    check = words.add_parser("check-analysis", help="check an analysis document")
    check.add_argument("path", type=Path)
    words.add_parser("register", help="register the shipped models and analyses")
    own = words.add_parser("register-analysis", help="register an analysis document")
    own.add_argument("path", type=Path)
    own.add_argument("--by", required=True, help="who registers it, for the audit")
    words.add_parser("decoders", help="print which transfer syntaxes can be read, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
