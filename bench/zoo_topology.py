"""A made-up topology for bundles of DiNTS, whose own a search found and their checkout lacks.

As with random weights the answers mean nothing, but every part of the bundle does its work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from pipeline.config.document import Document
from pipeline.models.intake import following
from pipeline.models.program import layout

_OPERATIONS: Final = 5


def add(document: Document, bundle: Path) -> dict[str, Any]:
    """Write the file that a configuration loads its topology from, as their search writes it.

    ``large_files.yml`` states a digest of the file that was not brought; the entry is left out.

    Returns:
        The topology by the id that loads it; empty where the network has none.

    """
    items = document.items
    spaces = [one for one in items if layout.target(document, one) == "TopologyInstance"]
    if not spaces:
        return {}
    space = items[spaces[0]]
    made = topology(space["num_blocks"], space["num_depths"])
    (loading,) = (
        one for one, item in items.items() if isinstance(item, str) and "torch.load(" in item
    )
    (file,) = following.loaded_files(document)
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(made, bundle / "models" / file)
    listed = bundle / "large_files.yml"
    entries = yaml.safe_load(listed.read_text())["large_files"]
    kept = [one for one in entries if one["path"] != f"models/{file}"]
    listed.write_text(yaml.safe_dump({"large_files": kept}))
    return {loading: made}


def topology(blocks: int, depths: int, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return random paths and operations in which every path starts where another one ended.

    In each block a path leads to each depth from itself and from each one beside it (He et al.,
    CVPR 2021). Of those that start at a node that was reached about half are taken, one at least.

    Returns:
        ``arch_code_a`` (blocks, paths) and ``node_a`` (blocks + 1, depths), each 0 or 1, and
        ``arch_code_c`` (blocks, paths), the numbers of the operations.

    """
    generator = np.random.default_rng(seed)
    every = range(depths)
    pairs = [(end, start) for end in every for start in every if abs(end - start) < 2]
    ends, starts = np.array(pairs).T
    nodes = np.zeros((blocks + 1, depths), np.int64)
    nodes[0] = 1
    paths = np.zeros((blocks, len(ends)))
    for block in range(blocks):
        possible = np.flatnonzero(nodes[block, starts])
        chances = generator.random(len(possible))
        taken = possible[chances <= max(0.5, chances.min())]
        paths[block, taken] = 1
        nodes[block + 1, ends[taken]] = 1
    operations = generator.integers(_OPERATIONS, size=paths.shape)
    return {"arch_code_a": paths, "arch_code_c": operations, "node_a": nodes}
