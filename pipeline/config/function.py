"""Lambdas of a configuration, as callables that Python and MONAI can hold."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pipeline.config.limits import DEEPEST_CALL, Budget
from pipeline.config.refusal import ConfigRefused

_BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)
_PARAMETER = inspect.Parameter


class Function:
    """A lambda, to be called like any function."""

    def __init__(
        self, signature: inspect.Signature, body: Callable[[Budget, Mapping[str, Any]], Any]
    ) -> None:
        """Take the parameters, and what evaluates the body with their values."""
        self._signature = signature
        self._body = body

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Evaluate the body.

        Raises:
            ConfigRefused: the budget is used up, or calls nest too deep.
            TypeError: the arguments do not fit the parameters.

        """
        given = self._signature.bind(*arguments, **named)
        given.apply_defaults()
        with spending(_BUDGET.get() or Budget()) as budget:
            if budget.calls >= DEEPEST_CALL:
                raise ConfigRefused(f"lambdas call each other deeper than {DEEPEST_CALL} levels")
            budget.calls += 1
            try:
                return self._body(budget, given.arguments)
            finally:
                budget.calls -= 1

    def __deepcopy__(self, memo: object) -> Function:
        """Stay the same, as Python's functions do: what a lambda refers to is shared."""
        return self


@contextmanager
def spending(budget: Budget) -> Iterator[Budget]:
    """Let lambdas that are called meanwhile share a budget."""
    token = _BUDGET.set(budget)
    try:
        yield budget
    finally:
        _BUDGET.reset(token)


def signature(given: ast.arguments, value: Callable[[ast.expr], Any]) -> inspect.Signature:
    """Return the parameters of a lambda; ``value`` evaluates their defaults."""

    def parameter(
        argument: ast.arg, kind: inspect._ParameterKind, default: ast.expr | None = None
    ) -> inspect.Parameter:
        found = value(default) if default else _PARAMETER.empty
        return _PARAMETER(argument.arg, kind, default=found)

    positional: list[tuple[ast.arg, inspect._ParameterKind]] = [
        *((argument, _PARAMETER.POSITIONAL_ONLY) for argument in given.posonlyargs),
        *((argument, _PARAMETER.POSITIONAL_OR_KEYWORD) for argument in given.args),
    ]
    missing = [None] * (len(positional) - len(given.defaults))
    parameters = [
        parameter(argument, kind, default)
        for (argument, kind), default in zip(positional, [*missing, *given.defaults], strict=True)
    ]
    if given.vararg:
        parameters.append(parameter(given.vararg, _PARAMETER.VAR_POSITIONAL))
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        parameters.append(parameter(argument, _PARAMETER.KEYWORD_ONLY, default))
    if given.kwarg:
        parameters.append(parameter(given.kwarg, _PARAMETER.VAR_KEYWORD))
    return inspect.Signature(parameters)
