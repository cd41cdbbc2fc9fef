"""Operators of expressions, on plain data and arrays, with a look at the size before the work."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.config import members
from pipeline.config.limits import LARGEST_INTEGER, LARGEST_SEQUENCE, LARGEST_TENSOR
from pipeline.config.refusal import ConfigRefused

_PLAIN = (bool, int, float, str, list, tuple, set, frozenset, dict)
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


def unary(kind: ast.unaryop, value: Any) -> Any:
    """Apply ``not``, ``-``, ``+`` or ``~``."""
    return _UNARY[type(kind)](value)


def compare(kind: ast.cmpop, left: Any, right: Any) -> Any:
    """Compare two values once."""
    check_arrays((left, right))
    return _COMPARE[type(kind)](left, right)


def binary(kind: ast.operator, left: Any, right: Any) -> Any:
    """Apply an operator between two values.

    Raises:
        ConfigRefused: a value is neither plain nor an array, or the result would be too large.

    """
    for value in (left, right):
        if not isinstance(value, _PLAIN) and not members.is_array(value):
            raise ConfigRefused(f"an expression calculates with a {type(value).__name__}")
    if isinstance(kind, ast.Mod) and isinstance(left, str):
        raise ConfigRefused("an expression formats a text; write + between the parts")
    if isinstance(kind, ast.Pow):
        _check_power(left, right)
    if isinstance(kind, ast.Mult):
        _check_repetition(left, right)
        _check_repetition(right, left)
    check_arrays((left, right))
    return _BINARY[type(kind)](left, right)


def _check_power(base: Any, exponent: Any) -> None:
    if not isinstance(base, int) or not isinstance(exponent, int):
        return
    if exponent > 1 and base.bit_length() * exponent > 2 * LARGEST_INTEGER.bit_length():
        raise ConfigRefused("an expression takes a power that is too large")


def _check_repetition(sequence: Any, times: Any) -> None:
    if not isinstance(sequence, str | list | tuple):
        return
    if members.is_array(times) and math.prod(times.shape) == 1:  # it repeats as a number would
        raise ConfigRefused("an expression repeats by an array; write the number of times")
    if not isinstance(times, int):
        return
    if len(sequence) * times > LARGEST_SEQUENCE:
        raise ConfigRefused(f"an expression makes more than {LARGEST_SEQUENCE} items")


def check_arrays(values: tuple[Any, ...]) -> None:
    """Hold what becomes of arrays that meet, side by side or broadcast, against the limit.

    Raises:
        ConfigRefused: it would be too large.

    """
    shapes = [tuple(array.shape) for array in _arrays(values)]
    if len(shapes) < 2:
        return
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    broadcast = math.prod(max(sizes) for sizes in zip(*padded, strict=True))
    if max(broadcast, sum(map(math.prod, shapes))) > LARGEST_TENSOR:
        raise ConfigRefused(f"an expression makes an array of more than {LARGEST_TENSOR} elements")


def _arrays(values: Any) -> Iterator[Any]:
    """Yield the arrays among values, and in lists of lists of them, as for ``numpy.stack``."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if members.is_array(value):
            yield value
        elif isinstance(value, list | tuple):
            waiting.extend(value)
