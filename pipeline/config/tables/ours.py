"""Ours: what stands in for code that a bundle carries in its ``scripts`` folder, which never runs.

A row is the full name as a bundle writes it, and where we define what it means. The same name may
mean something else in another bundle, so a row belongs to one only if no other uses its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.tables.entry import Entry, Kind

#: what the published UNesT take and leave unused
_UNUSED = frozenset({"img_size", "window_size", "conv_block", "dropout_rate"})
OURS: Mapping[str, Entry] = {
    "scripts.networks.unest.UNesT": Entry(
        module="pipeline.networks.unest",
        attribute="unest",
        kind=Kind.NETWORK,
        ignored=_UNUSED | {"patch_size", "depths", "num_heads"},
    ),
    "scripts.networks.unest_base_patch_4.UNesT": Entry(
        module="pipeline.networks.unest", attribute="unest", kind=Kind.NETWORK, ignored=_UNUSED
    ),
    "scripts.detection_inferer.RetinaNetInferer": Entry(
        module="pipeline.models.program.inferers",
        attribute="RetinaNetInferer",
        kind=Kind.INFERER,
    ),
    "scripts.my_transforms.ConcatImages": Entry(
        module="pipeline.models.program.transforms",
        attribute="ConcatImages",
        kind=Kind.TRANSFORM,
    ),
    "scripts.my_transforms.MergeClassesd": Entry(
        module="pipeline.models.program.transforms",
        attribute="MergeClassesd",
        kind=Kind.TRANSFORM,
    ),
}
