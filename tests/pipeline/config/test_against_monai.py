"""The language means here what it means to MONAI. Its parser evaluates; the documents are ours."""

from __future__ import annotations

import enum
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from pipeline.config.document import ConfigRefused, Document
from pipeline.config.resolver import Resolver

_COMPOSE = "monai.transforms.Compose"
_SPACING = {"_target_": "monai.transforms.Spacingd", "keys": "image", "pixdim": "@pixdim"}
#: one of each feature, with every id compared
_LANGUAGE: dict[str, Any] = {
    "imports": ["$import os", "$import copy", "$import math as m", "$from os import path"],
    "one": 1,
    "text": "plain",
    "half": 0.5,
    "flags": [True, None, False],
    "reference": "@one",
    "chain": "@reference",
    "inside": {"a": 2, "b": "@#a", "c": "@##one", "d": ["@#2", "@##a", 7], "e": "$@#a + @##one"},
    "old": "@inside#a",
    "new": "@inside::d::2",
    "macro": "%inside::a",
    "copied": "%inside",
    "pixdim": [1.5, 1.5, 2.0],
    "sum": "$@one + @inside::a * 3 - 4 / @half",
    "integers": "$(7 // 2, -7 // 2, 7 % 3, 2 ** 10, ~5, 6 & 3, 6 | 1, 6 ^ 2, +1)",
    "logic": "$(1 < 2 <= 2, not 1, 1 and 0 or 3, 'a' in 'abc', None is None, 2 not in [1])",
    "choice": "$'yes' if @one > 0 else 'no'",
    "parts": "$[@pixdim[0], @pixdim[-1], @pixdim[::-1], 'abc'[1:], {'k': 4}['k']]",
    "tuple": "$((@one - 3) // 2,) * 4",
    "dictionary": "${@text: @one, **@inside}",
    "set": "$set([i + 1 for i in range(5)]) - {2, 3}",
    "listed": "$[(a, b) for a, b in zip(@pixdim, 'xyz') if a > 1 for _ in range(2)]",
    "mapped": "${k: v * 2 for k, v in {'x': 1}.items()}",
    "sorted": "$sorted(@pixdim, key=lambda v: -v)[:2]",
    "functions": "$(len(@pixdim), max(1, 3), min([4, 2]), abs(-3), round(2.5), sum(@pixdim))",
    "built": "$(list(reversed([1, 2])), list(enumerate('ab', 1)), tuple(map(str, [1, 2])))",
    "strings": "$@text.upper() + '-'.join(['a', 'b']) + str(3) + 'x y'.split()[1]",
    "joined": "$os.path.join('/a', @text, 'b.nii')",
    "path": "$path.basename('/a/b')",
    "math": "$m.ceil(2.1) + m.floor(@half)",
    "pi": "$np.pi / 8",
    "dtypes": "$[torch.float32, numpy.float32, np.uint8, torch.int16]",
    "keys": "$monai.utils.CommonKeys.IMAGE",
    "star": "$list(zip(*[[1, 2], [3, 4]]))",
    "copy": "$copy.deepcopy(@inside)",
    "transforms": [deepcopy(_SPACING), {"_target_": "monai.transforms.Flip", "_desc_": "words"}],
    "composed": {"_target_": _COMPOSE, "transforms": "$@transforms + [@flip]"},
    "flip": {"_target_": "monai.transforms.Flip", "spatial_axis": "$@one - 1"},
    "disabled": {"_target_": "monai.transforms.Flip", "_disabled_": True},
    "perhaps": {"_target_": "monai.transforms.Flip", "_disabled_": "$@one > 5"},
    "never": {"_target_": "monai.transforms.Flip", "_disabled_": "TRUE"},
    "few": ["@disabled", {"_target_": "monai.transforms.Flip", "_disabled_": True}, 3],
    "required": {"_target_": "monai.transforms.Flip", "_requires_": ["@one", "$@one + 1"]},
    "device": {"_target_": "torch.device", "type": "cpu"},
}


def _both(config: dict[str, Any], name: str) -> tuple[Any, Any]:
    parser = ConfigParser(deepcopy(config))
    return parser.get_parsed_content(name), Resolver(Document(deepcopy(config))).get(name)


def _comparable(value: Any) -> Any:
    """What of an object can be compared: of transforms, their type and what they hold."""
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_comparable(item) for item in value)
    if isinstance(value, torch.Tensor | np.ndarray):
        return _comparable(value.tolist())
    # not a number is not itself
    if isinstance(value, float | enum.Enum | torch.nn.Module | np.random.RandomState):
        return str(value).split(" at ")[0]
    if type(value).__module__.startswith("monai.") and hasattr(value, "__dict__"):
        return type(value), _comparable(dict(vars(value)))
    return value


@pytest.fixture(scope="module")
def parser() -> ConfigParser:
    return ConfigParser(deepcopy(_LANGUAGE))


@pytest.fixture(scope="module")
def resolver() -> Resolver:
    return Resolver(Document(deepcopy(_LANGUAGE)))


@pytest.mark.parametrize("name", [name for name in _LANGUAGE if name != "imports"])
def test_each_feature_means_what_it_means_to_monai(
    name: str, parser: ConfigParser, resolver: Resolver
) -> None:
    theirs, ours = parser.get_parsed_content(name), resolver.get(name)
    assert _comparable(ours) == _comparable(theirs)
    assert type(ours) is type(theirs)


def test_objects_are_made_once_and_shared_as_by_monai(
    parser: ConfigParser, resolver: Resolver
) -> None:
    for either in (parser.get_parsed_content, resolver.get):
        assert either("composed").transforms[-1] is either("flip")
        assert either("composed").transforms[0] is either("transforms::0")
        assert either("flip") is either("flip")


def test_a_short_name_is_the_class_that_monai_finds() -> None:
    config = {"net": {"_target_": "SegResNet", "in_channels": 1, "out_channels": 2}}
    torch.manual_seed(0)
    theirs = ConfigParser(deepcopy(config)).get_parsed_content("net")
    torch.manual_seed(0)
    ours = Resolver(Document(config)).get("net")
    assert type(ours) is type(theirs)
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


def test_the_callable_mode_binds_arguments_as_by_monai() -> None:
    config = {"f": {"_target_": "monai.transforms.Flip", "_mode_": "callable", "spatial_axis": 1}}
    theirs, ours = _both(config, "f")
    assert (ours.func, ours.keywords) == (theirs.func, theirs.keywords)
    config = {"f": {"_target_": "monai.transforms.Flip", "_mode_": "callable"}}
    theirs, ours = _both(config, "f")
    assert ours is theirs


def test_files_merge_as_by_monai(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.yaml"
    first.write_text('{"net": {"in": 1, "out": [2, 3]}, "list": [1], "more": {"x": {"y": 1}}}')
    second.write_text(
        "net::in: 4\nnet#out#1: 5\n+list: [2]\n"
        "+more: {z: 3}\n+more::x: {w: 2}\nlist::0: 9\nnew: {}\n"
    )
    theirs = ConfigParser.load_config_files([str(first), str(second)])
    assert Document.read([first, second]).config == theirs
    assert theirs["more"] == {"x": {"y": 1, "w": 2}, "z": 3}


@pytest.mark.parametrize(
    ("text", "arguments", "named"),
    [
        ("$lambda x: x[1:]", ([1, 2, 3],), {}),
        ("$lambda x, y=@k: x + y", (1,), {}),
        ("$lambda x, *rest, z=2, **more: (x, rest, z, sorted(more))", (1, 2, 3), {"a": 4}),
        ("$lambda b, *_, **__: (b, None, (), {})", (1, 2), {"q": 3}),
        ("$lambda x, /, y: x - y", (5,), {"y": 2}),
        ("$lambda x: (lambda y: y * x)(3)", (4,), {}),
        ("$lambda x: [x + i for i in range(@k)]", (1,), {}),
        ("$lambda x: {**x, 'new': @k}", ({"old": 1},), {}),
        ("$lambda x: torch.nan_to_num(x, nan=255)", (torch.tensor([1.0, torch.nan]),), {}),
        ("$lambda x: torch.where(x[[1]] > 0, 4, torch.where(x[[0]] > 0, 1, 0))",
         (torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 2.0]]),), {}),
        ("$lambda x: x.softmax(0).argmax(dim=0).to(torch.uint8).shape", (torch.eye(3),), {}),
        ("$lambda x: x[..., None].squeeze(-1).sum() + x.max()", (torch.eye(3),), {}),
    ],
)  # fmt: skip
def test_lambdas_answer_as_those_of_monai(
    text: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    theirs, ours = _both({"k": 3, "f": text}, "f")
    assert _comparable(ours(*arguments, **named)) == _comparable(theirs(*arguments, **named))


_NUMBERS = st.integers(-50, 50)
_ATOMS = _NUMBERS.map(str) | st.sampled_from(["@a", "@b", "@list::0", "@list[1]", "len(@list)"])
_OPERATORS = st.sampled_from(["+", "-", "*", "//", "%", "/", "<", "==", "and", "or"])
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(
            inner, st.sampled_from(["+", "-", "*", "//", "%", "/", "<", "==", "and", "or"]), inner
        ).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda p: f"max([{', '.join(p)}])"),
        inner.map(lambda part: f"(lambda x: x + {part})(1)"),
        inner.map(lambda part: f"sum([i * {part} for i in range(3)])"),
    ),
    max_leaves=8,
)


@given(_EXPRESSIONS, _NUMBERS, _NUMBERS)
@settings(max_examples=60, deadline=None)
def test_expressions_answer_as_those_of_monai(text: str, a: int, b: int) -> None:
    config = {"a": a, "b": b, "list": [a, b, 3], "it": f"${text}"}
    try:
        theirs = ConfigParser(deepcopy(config), globals=False).get_parsed_content("it")
    except RuntimeError:
        with pytest.raises(ConfigRefused, match="ZeroDivisionError"):
            Resolver(Document(config)).get("it")
        return
    assert Resolver(Document(config)).get("it") == theirs
