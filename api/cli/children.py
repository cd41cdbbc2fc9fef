"""What only the pipeline can answer is asked of ``python -m worker`` in a child process.

So the command line stays light, and a machine without torch still lists, submits and exports.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from api.cli.outcome import Problem, sentence_of

if TYPE_CHECKING:
    from worker.queue.settings import Settings


@dataclass(frozen=True)
class Answer:
    """What a verb of the workers said, and its exit status."""

    status: int
    said: str
    complained: str

    @property
    def sentence(self) -> str:
        """The last complaint as a sentence."""
        return sentence_of(self.last_complaint)

    @property
    def last_complaint(self) -> str:
        """The last line of stderr, which for an uncaught error names it."""
        lines = self.complained.strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def ask(
    settings: Settings, words: Sequence[str], environment: Mapping[str, str] | None = None
) -> Answer:
    """Run ``python -m worker WORDS`` under the settings in force and return what it says.

    Args:
        settings: those in force.
        words: the verb and its words.
        environment: what the child gets beside them.

    Raises:
        Problem: this machine has no pipeline.
    """
    from worker.queue.processes import environment_of

    require_pipeline()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "worker", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**inherited(), **environment_of(settings), **(environment or {})},
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def require_pipeline() -> None:
    """Refuse in a sentence what needs torch where there is none."""
    if find_spec("torch") is None or find_spec("pydicom") is None:
        message = "This machine has no pipeline: torch or pydicom is missing."
        raise Problem(message, mend="pip install 'nightshift[worker]'")


def register_shipped(settings: Settings) -> None:
    """Put the shipped models and analyses into the records, as workers do at their start."""
    answer = ask(settings, ["register"])
    if answer.status:
        message = f"The shipped models could not be registered: {answer.last_complaint}"
        raise Problem(message)


def inherited() -> dict[str, str]:
    """Return the environment that a child inherits."""
    import os

    return dict(os.environ)
