"""Methods and attributes that an expression may use, by the class of the value.

Classes are named, not imported. None of these changes the value, except to move a network, to set
it to evaluation or to give a detector its parameters, which is what configurations do with them.
"""

from __future__ import annotations

from collections.abc import Mapping

_TENSOR = (
    "to float double half int long short bool byte cpu numpy type clone detach contiguous "
    "item size dim numel argmax argmin amax amin max min sum mean std any all abs round floor ceil "
    "clamp clip exp log sqrt softmax sigmoid permute transpose squeeze unsqueeze reshape view "
    "flatten flip astype copy unbind"
)
_DETECTOR = "set_target_keys set_box_selector_parameters set_sliding_window_inferer eval to"
_METHODS = {
    "builtins.dict": "get items keys values copy",
    "builtins.list": "index count copy",
    "builtins.tuple": "index count",
    "builtins.str": "lower upper title strip lstrip rstrip split join startswith endswith "
    "removeprefix removesuffix",
    "torch.Tensor": _TENSOR,
    "numpy.ndarray": _TENSOR,
    "numpy.generic": "item astype round",
    "torch.nn.modules.module.Module": "to eval",
    "monai.apps.detection.networks.retinanet_detector.RetinaNetDetector": _DETECTOR,
    "monai.networks.schedulers.scheduler.Scheduler": "set_timesteps",
    "monai.transforms.transform.Randomizable": "set_random_state",
    "PIL.Image.Image": "convert",
}
_ATTRIBUTES = {
    "torch.Tensor": "shape dtype device ndim T mT",
    "monai.data.meta_tensor.MetaTensor": "meta affine pixdim array",
    "numpy.ndarray": "shape dtype ndim size T",
    "torch.device": "type index",
    "monai.transforms.compose.Compose": "transforms",
}
#: what stands here may be called as it is
_CALLABLE = frozenset(
    {
        "torch.nn.modules.module.Module",
        "monai.transforms.transform.Transform",
        "monai.inferers.inferer.Inferer",
        "monai.apps.detection.networks.retinanet_detector.RetinaNetDetector",
    }
)
_ARRAYS = frozenset({"torch.Tensor", "numpy.ndarray", "numpy.generic"})


def _split(table: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(members.split()) for name, members in table.items()}


METHODS, ATTRIBUTES = _split(_METHODS), _split(_ATTRIBUTES)
EVERY_METHOD = frozenset[str]().union(*METHODS.values())
EVERY_ATTRIBUTE = frozenset[str]().union(*ATTRIBUTES.values())


def has(table: Mapping[str, frozenset[str]], value: object, name: str) -> bool:
    """Whether a table gives a member of this name to the class of a value, or to a base of it."""
    return any(name in table.get(base, ()) for base in _bases(value))


def is_callable(value: object) -> bool:
    """Whether an expression may call a value that is no function of its own or of the tables."""
    return any(base in _CALLABLE for base in _bases(value))


def is_array(value: object) -> bool:
    """Whether a value is a tensor, an array or a number of NumPy."""
    return any(base in _ARRAYS for base in _bases(value))


def _bases(value: object) -> list[str]:
    return [f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__]
