"""Python's own functions, as far as an expression may use them. All are bounded and eager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.config import members
from pipeline.config.limits import LARGEST_SEQUENCE
from pipeline.config.refusal import ConfigRefused

_ITERABLE: tuple[type, ...] = (
    list,
    tuple,
    set,
    frozenset,
    dict,
    str,
    range,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
_MOST_DIGITS = 20


def items(value: Any) -> list[Any]:
    """Return what iterating over a plain container or a tensor gives.

    Raises:
        ConfigRefused: it is something else, or holds too much.

    """
    if not isinstance(value, _ITERABLE) and not members.is_array(value):
        raise ConfigRefused(f"an expression iterates over a {type(value).__name__}")
    if len(value) > LARGEST_SEQUENCE:
        raise ConfigRefused(f"an expression iterates over more than {LARGEST_SEQUENCE} items")
    return list(value)


def _range(*arguments: int) -> range:
    made = range(*arguments)
    # len() itself fails beyond the machine's word
    if made and abs(made[-1] - made[0]) // abs(made.step) >= LARGEST_SEQUENCE:
        raise ConfigRefused(f"an expression makes a range of more than {LARGEST_SEQUENCE} items")
    return made


def _round(value: Any, digits: int | None = None) -> Any:
    # Python computes ten to the power of the digits first
    if digits is not None and abs(digits) > _MOST_DIGITS:
        raise ConfigRefused(f"an expression rounds to more than {_MOST_DIGITS} digits")
    return round(value) if digits is None else round(value, digits)


def _text(value: Any = "") -> str:
    if value is not None and not isinstance(value, str | int | float):
        raise ConfigRefused(f"an expression writes a {type(value).__name__} as text")
    return str(value)


def _map(function: Callable[..., Any], *iterables: Any) -> list[Any]:
    return [function(*row) for row in _zip(*iterables)]


def _filter(function: Callable[..., Any] | None, iterable: Any) -> list[Any]:
    return [item for item in items(iterable) if (function(item) if function else item)]


def _zip(*iterables: Any, strict: bool = False) -> list[tuple[Any, ...]]:
    return list(zip(*map(items, iterables), strict=strict))


def _enumerate(iterable: Any, start: int = 0) -> list[tuple[int, Any]]:
    return list(enumerate(items(iterable), start))


def _dictionary(pairs: Any = (), /, **named: Any) -> dict[Any, Any]:
    return dict(pairs if isinstance(pairs, dict) else items(pairs), **named)


def _container(kind: Callable[..., Any]) -> Callable[..., Any]:
    return lambda iterable=(): kind(items(iterable))


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def chosen(*values: Any, **options: Any) -> Any:
        return choose(items(values[0]) if len(values) == 1 else values, **options)

    return chosen


def _sorted(iterable: Any, **options: Any) -> list[Any]:
    return sorted(items(iterable), **options)


def _sum(iterable: Any, start: Any = 0) -> Any:
    if isinstance(start, list | tuple | str):
        raise ConfigRefused("an expression sums containers; write + between them")
    return sum(items(iterable), start)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": _text,
    "len": len,
    "abs": abs,
    "round": _round,
    "range": _range,
    "list": _container(list),
    "tuple": _container(tuple),
    "set": _container(set),
    "frozenset": _container(frozenset),
    "dict": _dictionary,
    "sorted": _sorted,
    "reversed": lambda iterable: items(iterable)[::-1],
    "zip": _zip,
    "map": _map,
    "filter": _filter,
    "enumerate": _enumerate,
    "min": _extreme(min),
    "max": _extreme(max),
    "sum": _sum,
    "any": lambda iterable: any(items(iterable)),
    "all": lambda iterable: all(items(iterable)),
}
