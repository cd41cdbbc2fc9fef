"""Networks of ours. A new one is one line here: name, full name, what it answers with, arguments.

The full name is that of a class or function which takes ``spatial_dims``, ``in_channels`` and
``out_channels`` (or what ``Row.in_channels`` and ``Row.outputs`` are set to) by name, and the
listed arguments as JSON has them: numbers, texts, lists. The tests build every row in each of its
``axes``: give them small arguments in ``tests/pipeline/models/table/small.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.tables.entry import Entry
from pipeline.config.tables.entry import Kind as What
from pipeline.models.spec import Kind
from pipeline.models.table.row import BOXES, CLASSES, IMAGES, MAPS, Row, row


def _ours(full_name: str, kinds: frozenset[Kind], parameters: str, **others: Any) -> Row:
    module, _, attribute = full_name.rpartition(".")
    entry = Entry(module=module, attribute=attribute, kind=What.NETWORK)
    return row(entry, kinds, parameters, **others)


OURS: Mapping[str, Row] = {
    "RetinaNet": _ours(
        "pipeline.models.retinanet.network",
        BOXES,
        "features pyramid_channels anchor_shapes stride finest",
        outputs="num_classes",
    ),
    "SubpixelNet": _ours("pipeline.models.subpixel.network", IMAGES, "scale features", scale=2),
    "SPPNet": _ours("pipeline.networks.spatial_pyramid.SPPNet", CLASSES, "features levels dropout"),
    "CNNLSTM": _ours(
        "pipeline.networks.cnn_lstm.CNNLSTM", CLASSES, "features hidden bidirectional"
    ),
    "AttentionMIL": _ours(
        "pipeline.networks.attention_mil.AttentionMIL", CLASSES, "features hidden gated"
    ),
    "AttentionGatedNet": _ours(
        "pipeline.networks.attention_gated.AttentionGatedNet", CLASSES, "features gates"
    ),
    "SEUNet": _ours("pipeline.networks.se_unet.SEUNet", MAPS, "features reduction excitation"),
    "EDSR": _ours(
        "pipeline.networks.edsr.EDSR",
        IMAGES,
        "scale features blocks residual_weight mean direct",
        scale=2,
    ),
    "RCAN": _ours(
        "pipeline.networks.rcan.RCAN",
        IMAGES,
        "scale features groups blocks reduction",
        scale=2,
    ),
    "SRResNet": _ours(
        "pipeline.networks.srresnet.SRResNet", IMAGES, "scale features blocks", scale=2
    ),
    "DenoisingAutoEncoder": _ours(
        "pipeline.networks.denoising_autoencoder.DenoisingAutoEncoder", IMAGES, "features residual"
    ),
    "EarlyFusion": _ours(
        "pipeline.networks.early_fusion.EarlyFusion", CLASSES, "features", takes_missing=True
    ),
    "LateFusion": _ours(
        "pipeline.networks.late_fusion.LateFusion",
        CLASSES,
        "features weighting",
        takes_missing=True,
    ),
    "JointFusion": _ours(
        "pipeline.networks.joint_fusion.JointFusion",
        CLASSES,
        "features pooling hidden",
        takes_missing=True,
    ),
    "FiLMNet": _ours(
        "pipeline.networks.film.FiLMNet", CLASSES, "values features hidden", table="values"
    ),
}
