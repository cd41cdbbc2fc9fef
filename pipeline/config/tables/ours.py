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
    "scripts.inferer.Vista3dInferer": Entry(
        module="pipeline.networks.vista3d",
        attribute="Vista3dInferer",
        kind=Kind.INFERER,
        # the published one uses them for points only
        ignored=frozenset({"overlap", "use_point_window"}),
        refused={"room": "how much memory is used is not for a bundle to say"},
    ),
    # our inferer answers with labels, where MONAI's transform takes a map for each class
    **dict.fromkeys(
        (
            "monai.apps.vista3d.transforms.VistaPostTransformd",
            "monai.apps.vista3d.VistaPostTransformd",
        ),
        Entry(
            module="pipeline.networks.vista3d",
            attribute="VistaPostTransformd",
            kind=Kind.TRANSFORM,
        ),
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
