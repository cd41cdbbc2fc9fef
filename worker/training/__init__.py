"""One training on the queue: claim it, run it in a process of its own, register its product.

The process can be killed without harm to the worker. Its checkpoint lies in the store, so a
training goes on where it was when its process, its worker or its machine is gone.
"""

from worker.training.carrying import run

__all__ = ["run"]
