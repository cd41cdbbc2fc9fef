"""What only the pipeline can answer is asked of ``python -m worker`` in a child process.

So the command line stays light, and a machine without torch still lists, submits and exports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

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
    with _started(settings, words, environment) as child:
        said, complained = child.communicate()
    return Answer(child.returncode, said, complained)


def listen(
    settings: Settings, words: Sequence[str], told: Callable[[Mapping[str, Any]], None]
) -> Answer:
    """Run it as ``ask`` does and hand over the lines of JSON that it says; the last one is said.

    Raises:
        Problem: this machine has no pipeline.
    """
    last = ""
    with tempfile.TemporaryFile("w+") as complaints:  # a full pipe would stop the child
        with _started(settings, words, stderr=complaints.fileno()) as child:
            for line in child.stdout or ():
                if last:
                    told(json.loads(last))
                last = line
        complaints.seek(0)
        return Answer(child.returncode, last, complaints.read())


@contextmanager
def _started(
    settings: Settings,
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stderr: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    """Start the child; whatever happens, it is gone at the end."""
    from worker.queue.processes import environment_of

    require_pipeline()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "worker", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**inherited(), **environment_of(settings), **(environment or {})},
    ) as child:
        try:
            yield child
            child.wait()
        finally:
            child.kill()


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
