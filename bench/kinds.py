"""The pictures of ``docs/kinds.md``: what each kind of model, step and explanation comes to.

    python -m bench.kinds --data ../shared/data --out docs/images/kinds [--only NAME]...

``--data`` holds the public sets that the page names. Nothing is drawn by hand: image steps, rules
and shipped models run as they do in a job, and small models are trained first, by the recipes in
``bench/recipes``, on the CPU: ten minutes of one core. Those are kept below ``--work``. Figures
that the page quotes go to standard output.

Children that decode import this module again, so what is heavy is imported where it is used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.kinds_learnt import Learnt
    from bench.kinds_shipped import Rows

#: of all pictures, bytes
_MOST_BYTES: Final = 1_000_000


def main() -> int:
    """Write the pictures; return 1 where they are too large together."""
    import torch

    from bench.kinds_sheets import write
    from bench.kinds_shipped import say

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/images/kinds"))
    parser.add_argument("--work", type=Path, default=Path("build/kinds"))
    parser.add_argument("--only", action="append", help="a picture; absent = all", default=[])
    told = parser.parse_args()
    # the same weights whatever the number of cores
    torch.set_num_threads(1)
    told.out.mkdir(parents=True, exist_ok=True)
    for name, make in _pictures(told.data, told.work).items():
        if not told.only or name in told.only:
            size = write(told.out / f"{name}.webp", make())
            say(f"{name}.webp: {size} bytes")
    total = sum(path.stat().st_size for path in told.out.glob("*.webp"))
    say(f"{total} bytes in all")
    return int(total > _MOST_BYTES)


def _pictures(data: Path, work: Path) -> dict[str, Callable[[], Rows]]:
    """Return what makes each picture, by its name."""
    from bench.kinds_answers import LEARNT
    from bench.kinds_learnt import learn
    from bench.kinds_shipped import SHIPPED

    def learnt(recipe: str, show: Callable[[Learnt], Rows]) -> Rows:
        return show(learn(recipe, data, work))

    shipped = {name: partial(make, data) for name, make in SHIPPED.items()}
    return {**shipped, **{name: partial(learnt, *parts) for name, parts in LEARNT.items()}}


if __name__ == "__main__":
    sys.exit(main())
