"""Expressions that are meant to break out, to break down, or simply not understood."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import limits
from pipeline.config.checking import faults
from pipeline.config.document import ConfigRefused, Document
from pipeline.config.expression import imports, parse
from pipeline.config.resolver import Resolver

_MODULES = ["os", "sys", "glob", "json", "scripts", "copy", "pathlib", "subprocess", "builtins"]
_IMPORTS = [*(f"$import {name}" for name in _MODULES), "$from pathlib import Path"]


def _document(text: str, **others: Any) -> Document:
    return Document({"imports": _IMPORTS, "net": "plain", "it": text, **others})


def _refused(text: str, **others: Any) -> str:
    started = time.monotonic()
    with pytest.raises(ConfigRefused) as refused:
        Resolver(_document(text, **others)).get("it")
    assert time.monotonic() - started < 20
    return "; ".join(refused.value.faults)


@pytest.mark.parametrize(
    "text",
    [
        "().__class__.__bases__[0].__subclasses__()",
        "torch.__class__",
        "(lambda: 0).__globals__",
        "(lambda: 0).__call__.__func__",
        "[c for c in ().__class__.__mro__]",
        "@net.__class__",
        "@net.__init__",
        "torch.nn.__dict__",
        "torch.ops.__loader__",
        "[].__reduce_ex__(2)",
        "x._private",
        "getattr(@net, 'lower')",
        "vars(@net)",
        "type(@net)",
        "globals()",
        "__import__('os')",
        "__builtins__",
        "__reference_0__",
        "eval('1')",
        "exec('1')",
        "compile('1', '', 'eval')",
        "open('/etc/passwd')",
        "print(1)",
        "input()",
        "breakpoint()",
        "help()",
        "setattr(torch.backends.cudnn, 'benchmark', True)",
        "os.system('true')",
        "os.environ",
        "os.path.exists('/')",
        "sys.path.append('/tmp')",
        "glob.glob('/*')",
        "json.load(@net)",
        "pathlib.Path('/').read_text()",
        "Path('/etc/passwd')",
        "subprocess.run(['true'])",
        "builtins.eval('1')",
        "torch.load('/x.pt')",
        "torch.save(1, '/x')",
        "torch.hub.load('a', 'b')",
        "torch.utils.data.get_worker_info()",
        "numpy.load('/x.npy', allow_pickle=True)",
        "np.fromfile('/x')",
        "torch.ops.load_library('/x.so')",
        "torch.tensor([1]).numpy().tofile('/x')",
        "torch.tensor([1]).numpy().dump('/x')",
        "monai.utils.optional_import('os')",
        "monai.bundle.ConfigParser",
        "monai.utils.set_determinism(seed=1)",
        "scripts.anything.run()",
        "undefined",
        "undefined.attribute",
        "'{0.__class__}'.format(@net)",
        "'{}'.format_map({})",
        "f'{@net}'",
        "'%s' % @net",
        "'%99999999d' % 1",
        "(x := 1)",
        "await @net",
        "(yield)",
        "lambda: (yield)",
        "1 if",
        "1; 2",
        "a = 1",
        "b'bytes'",
        "1j",
        "@net @ @net",
        "1 << 2",
        "'it is @net'",
        "@net()",
        "(lambda f: f.__globals__)(lambda: 0)",
        "copy.copy.__globals__",
        "(lambda x: x.__class__)(1)",
        "torch.float32.__class__",
        "[x.__class__ for x in [1]]",
        "'a'.encode()",
        "'abc'.index('a')",
        "[1].size",
        "{}.update({1: 2})",
        "[].append(1)",
        "[1].sort()",
        "torch.tensor([1.0]).fill_(2)",
        "torch.tensor([1.0]).data",
        "torch.tensor([1.0]).tolist",
        "map(torch.device, ['cpu'])",
        "monai.networks.nets.UNet",
        "monai.data.PILReader",
        "monai.transforms.LoadImage()",
        "str(lambda: 0)",
        "int(@net)",
        "@missing",
        "@net::deeper",
        "@it",
        "list(lambda: 0)",
        "{[]: 1}",
        "{**[1]}",
        "dict(**1)",
        "[*1]",
        "[y for x.y in [1]]",
        "(lambda x: 0)()",
        "(lambda: 0)(1)",
        "\x00",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(text: str) -> None:
    assert _refused(f"${text}")


@pytest.mark.parametrize(
    "text",
    [
        "10 ** 10 ** 10",
        "2 ** 64",
        "9 ** 99",
        "(2 ** 62) * (2 ** 62)",
        "'a' * 10 ** 9",
        "10 ** 9 * [0]",
        "[0] * 10 ** 9",
        "(1,) * 10 ** 9",
        "range(10 ** 18)",
        "range(0, -10 ** 18, -1)",
        "list(range(10 ** 9))",
        "round(5, -10 ** 9)",
        "int('9' * 4000)",
        "int('9' * 9000)",
        "float(10 ** 9) ** 999",
        "[a for a in range(9999) for b in range(9999)]",
        "[[[c for c in range(200)] for b in range(200)] for a in range(200)]",
        "sum([a for a in range(9999) for b in range(9999)])",
        "all(b for a in range(9999) for b in range(1, 9999))",
        "['a' * 20000 for i in range(20000)]",
        "'-'.join(['a' * 20000] * 20000)",
        "{a: 'x' * 9999 for a in range(20000)}",
        "(lambda f: f(f))(lambda f: f(f))",
        "(lambda f: f(f, 99))(lambda f, n: n and f(f, n - 1) + f(f, n - 1))",
        "sorted(range(20000), key=lambda x: sum(range(99)))",
        "sum([['a'] * 9999, ['a'] * 9999], [])",
        "(((((((((((((((((((((((((((((((((((((((((((((((((((1)))))))))))))))))))" * 9,
        "-" * 3000 + "1",
        "not " * 900 + "1",
        "[" * 60 + "]" * 60,
        "+".join(["1"] * 400),
        "9" * 3000,
    ],
)
def test_what_would_exhaust_the_machine_is_refused_soon(text: str) -> None:
    assert _refused(f"${text}")


def test_long_texts_are_refused() -> None:
    assert "longer than" in _refused("$[" + "1, " * limits.LONGEST_EXPRESSION + "]")


def test_values_that_double_by_reference_are_refused() -> None:
    doubling = {f"d{i}": f"$@d{i - 1} + @d{i - 1}" for i in range(1, 60)}
    assert _refused("$@d59", d0="ab", **doubling)
    nested = {f"{name}{i}": f"$[@{name}{i - 1}] * 2" for name in "pq" for i in range(1, 60)}
    assert "steps" in _refused("$@p59 == @q59", p0=[1], q0=[1], **nested)


def test_arrays_are_measured_before_they_are_made() -> None:
    big = "$torch.tensor([1] * 9999)"
    for text in (
        "(@big[:, None] * @big[:99]).flatten()[:, None] * @big",
        "@big.reshape(-1, 1, 1) < @big.reshape(1, -1, 1) * @big[:99]",
        "torch.where(@big.reshape(-1, 1, 1) > 1, @big.reshape(1, -1, 1), @big)",
    ):
        assert "array of more than" in _refused(f"${text}", big=big)


@pytest.mark.parametrize("times", ["np.array([10**9])[0]", "torch.tensor(10**9)", "np.array(9)"])
@pytest.mark.parametrize("sequence", ["'a'", "[1]", "(1, 2)"])
def test_nothing_is_repeated_by_an_array(sequence: str, times: str) -> None:
    assert "repeats by an array" in _refused(f"${sequence} * {times}")
    assert "repeats by an array" in _refused(f"${times} * {sequence}")


def test_many_small_expressions_share_one_budget() -> None:
    many = [f"$sum([{number} for a in range(2000)])" for number in range(20)]
    assert Resolver(Document({"it": many[:3]})).get("it") == [0, 2000, 4000]
    with pytest.raises(ConfigRefused, match="steps"):
        Resolver(Document({"it": many})).get("it")


def test_lambdas_keep_to_a_budget_when_they_are_called_later() -> None:
    endless = Resolver(_document("$lambda x: [a for a in range(9999) for b in range(9999)]"))
    function = endless.get("it")
    with pytest.raises(ConfigRefused, match="steps"):
        function(1)
    # twelve thousand steps each: ten of them are more than one budget holds
    fine = Resolver(_document("$lambda x: sum([i * x for i in range(2000)])")).get("it")
    assert [fine(1) for _ in range(10)] == [1999000] * 10


def test_an_argument_can_hide_no_module() -> None:
    """A lambda's ``torch`` is its argument, not the module, as in Python."""
    hidden = Resolver(_document("$lambda torch: torch.shape")).get("it")
    assert hidden(__import__("torch").zeros(2)) == (2,)
    assert "load" in _refused("$(lambda torch: torch.load)(1)")


def test_an_unused_import_of_anything_is_no_fault() -> None:
    document = Document({"imports": ["$import os.path", "$from evil import run as r"], "a": "$1"})
    assert Resolver(document).get("imports") == [None, None]
    assert faults(document, ["imports", "a"]) == []
    assert imports("$import a.b, c as d") == {"a": "a", "d": "c"}
    assert imports("$from . import x") == {}


def test_an_import_does_not_rename_what_expressions_may_use() -> None:
    document = Document({"imports": ["$import os as torch"], "a": "$torch.float32"})
    assert "os.float32" in faults(document, ["a"])[0]


def test_branches_that_are_not_taken_are_held_to_the_same_rules() -> None:
    assert "numpy.load" in _refused("$1 if True else numpy.load('x')")


def test_cuda_is_answered_for_honestly() -> None:
    text = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert Resolver(_document(text)).get("it").type == expected


_WORDS = st.sampled_from(
    [
        "@net",
        "@it",
        "lambda",
        "x",
        ":",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "*",
        "**",
        "+",
        "-",
        "1",
        "0",
        "9**9",
        "'a'",
        "for",
        "in",
        "if",
        "else",
        "not",
        "and",
        "os",
        "torch",
        "__class__",
        "format",
        "list",
        "range",
        "map",
        "zip",
        "len",
        "str",
        "==",
        "<",
        "is",
        ":=",
        "f''",
        "...",
        "\\",
        "#",
        "$",
        "%",
        "eval",
        "open",
    ]
)


@given(st.lists(_WORDS, max_size=12).map(" ".join) | st.text(max_size=30))
@example("(" * 200)
@settings(max_examples=150, deadline=None)
def test_any_text_is_answered_or_refused(text: str) -> None:
    document = _document(f"${text}")
    found = faults(document, ["it"])
    with suppress(ConfigRefused):
        Resolver(document).get("it")
        # what was answered had no faults
        assert found == []


def test_what_is_parsed_without_faults_uses_only_listed_syntax() -> None:
    assert parse("$[i for i in range(3)]", {}).faults == ()
    assert parse("$[i async for i in range(3)]", {}).faults
