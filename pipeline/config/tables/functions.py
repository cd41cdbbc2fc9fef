"""Functions and constants that an expression may name. All are pure, and none opens anything."""

from __future__ import annotations

from collections.abc import Mapping

_DTYPES = (
    "float32 float64 float16 bfloat16 float double half int8 int16 int32 int64 uint8 int long "
    "short bool"
)
#: modules, and the functions below each
FUNCTIONS: Mapping[str, str] = {
    "torch": "device where argmax argmin softmax sigmoid nan_to_num isnan isfinite stack cat "
    "concatenate flip permute squeeze unsqueeze sum mean std max min amax amin maximum minimum "
    "clamp abs exp log sqrt round floor ceil any all zeros_like ones_like full_like tensor "
    "as_tensor from_numpy logical_and logical_or logical_not is_tensor relu tanh movedim",
    "torch.cuda": "is_available",
    "torch.nn.functional": "softmax sigmoid relu",
    "numpy": "array asarray abs argmax argmin where stack concatenate clip sum mean max min round "
    "floor ceil sqrt exp log prod squeeze expand_dims transpose moveaxis float32 float64 int32 "
    "int64 uint8 int16 bool_",
    "math": "ceil floor sqrt exp log log2 log10 prod sin cos tan radians degrees isclose",
    "os.path": "join basename dirname splitext",
    "copy": "copy deepcopy",
    "monai.data.utils": "no_collation",
}
#: modules, and the constants below each
VALUES: Mapping[str, str] = {
    "torch": _DTYPES,
    "numpy": "pi inf nan newaxis float16 int8 uint16 uint32 uint64",
    "math": "pi e inf nan tau",
    "os": "sep",
    "monai.utils": " ".join(
        f"{keys}.{name}"
        for keys, names in {
            "CommonKeys": "IMAGE LABEL PRED LOSS METADATA",
            "GridSampleMode": "BILINEAR NEAREST BICUBIC",
            "InterpolateMode": "NEAREST LINEAR BILINEAR BICUBIC TRILINEAR AREA NEAREST_EXACT",
            "PytorchPadMode": "CONSTANT REFLECT REPLICATE CIRCULAR",
            "BlendMode": "CONSTANT GAUSSIAN",
        }.items()
        for name in names.split()
    ),
}
#: modules that a document may go through on its way to a name
ALIASES: Mapping[str, str] = {"monai.data.no_collation": "monai.data.utils.no_collation"}
