"""Evaluation of a checked expression, node by node, within a budget."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.config import members, operators
from pipeline.config.expression import Expression, dotted
from pipeline.config.function import Function, signature, spending
from pipeline.config.limits import Budget
from pipeline.config.plain_functions import FUNCTIONS, items
from pipeline.config.refusal import ConfigRefused
from pipeline.config.tables.entry import Entry, Kind
from pipeline.config.tables.lookup import find

#: builds what a row of the tables stands for, from positional and named arguments
Build = Callable[[Entry, tuple[Any, ...], Mapping[str, Any]], Any]
Scope = Mapping[str, Any]
_VIEWS: tuple[Any, ...] = (type({}.keys()), type({}.values()), type({}.items()))
#: what calls a function that it is given
_CALLERS = tuple(FUNCTIONS[name] for name in ("map", "filter", "sorted", "min", "max"))


def evaluate(
    expression: Expression, values: Mapping[str, Any], build: Build, budget: Budget
) -> Any:
    """Evaluate an expression.

    Args:
        expression: as parsed.
        values: the object behind each id that it refers to.
        build: called for every network, transform or inferer that it builds by name.
        budget: what may be spent; lambdas that are called later get one of their own.

    Raises:
        ConfigRefused: it is not understood, or the budget is used up.

    """
    if expression.faults:
        raise ConfigRefused(list(expression.faults))
    scope = {name: values[reference] for name, reference in expression.references.items()}
    with spending(budget):
        return _Evaluation(expression.aliases, build, budget).value(expression.tree, scope)


class _Evaluation:
    def __init__(self, aliases: Mapping[str, str], build: Build, budget: Budget) -> None:
        self._aliases = aliases
        self._build = build
        self.budget = budget

    def value(self, node: ast.expr, scope: Scope) -> Any:
        self.budget.spend()
        return _NODES[type(node)](self, node, scope)

    def constant(self, node: ast.Constant, scope: Scope) -> Any:  # noqa: ARG002, one shape for all
        return node.value

    def name(self, node: ast.Name, scope: Scope) -> Any:
        if node.id in scope:
            return scope[node.id]
        if node.id in self._aliases:
            return self._named(self._aliases[node.id])
        return FUNCTIONS[node.id]

    def attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        entry = self._entry(node, scope)
        if entry:
            return self._named(entry.name)
        return self._member(members.ATTRIBUTES, self.value(node.value, scope), node.attr)

    def call(self, node: ast.Call, scope: Scope) -> Any:
        callee = self._callee(node.func, scope)
        arguments = tuple(self._spread(node.args, scope))
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            given = self.value(keyword.value, scope)
            if keyword.arg is None and not isinstance(given, dict):
                raise ConfigRefused("** is given something that is no dictionary")
            named |= given if keyword.arg is None else {keyword.arg: given}
        self.budget.weigh([arguments, named])
        operators.check_arrays((*arguments, *named.values()))
        if any(callee is caller for caller in _CALLERS):
            for given in (*arguments, *named.values()):
                if callable(given) and not _may_be_called(given):
                    raise ConfigRefused(f"an expression calls a {type(given).__name__}")
        result = callee(*arguments, **named)
        self.budget.weigh(result)
        return result

    def sequence(self, node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Any:
        found = list(self._spread(node.elts, scope))
        if isinstance(node, ast.List):
            return found
        self.budget.weigh(found)
        return tuple(found) if isinstance(node, ast.Tuple) else set(found)

    def dictionary(self, node: ast.Dict, scope: Scope) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            given = self.value(value, scope)
            if key is not None:
                found[self._hashable(key, scope)] = given
            elif isinstance(given, dict):
                self.budget.spend(len(given))
                found |= given
            else:
                raise ConfigRefused("** is given something that is no dictionary")
        return found

    def unary(self, node: ast.UnaryOp, scope: Scope) -> Any:
        return operators.unary(node.op, self.value(node.operand, scope))

    def binary(self, node: ast.BinOp, scope: Scope) -> Any:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        self.budget.weigh([left, right])
        result = operators.binary(node.op, left, right)
        self.budget.weigh(result)
        return result

    def boolean(self, node: ast.BoolOp, scope: Scope) -> Any:
        stops_at = isinstance(node.op, ast.Or)
        found = None
        for operand in node.values:
            found = self.value(operand, scope)
            if bool(found) is stops_at:
                break
        return found

    def compare(self, node: ast.Compare, scope: Scope) -> Any:
        left, result = self.value(node.left, scope), None
        for operator, operand in zip(node.ops, node.comparators, strict=True):
            right = self.value(operand, scope)
            self.budget.weigh([left, right])
            result = operators.compare(operator, left, right)
            if len(node.ops) > 1 and not result:
                break
            left = right
        return result

    def choice(self, node: ast.IfExp, scope: Scope) -> Any:
        chosen = node.body if self.value(node.test, scope) else node.orelse
        return self.value(chosen, scope)

    def subscript(self, node: ast.Subscript, scope: Scope) -> Any:
        value = self.value(node.value, scope)
        if not isinstance(value, dict | list | tuple | str | range) and not members.is_array(value):
            raise ConfigRefused(f"an expression looks inside a {type(value).__name__}")
        key = self._hashable(node.slice, scope)
        return value[key]

    def slice(self, node: ast.Slice, scope: Scope) -> slice:
        start, stop, step = (
            self.value(bound, scope) if bound else None
            for bound in (node.lower, node.upper, node.step)
        )
        return slice(start, stop, step)

    def function(self, node: ast.Lambda, scope: Scope) -> Function:
        def body(budget: Budget, arguments: Scope) -> Any:
            evaluation = _Evaluation(self._aliases, self._build, budget)
            return evaluation.value(node.body, {**scope, **arguments})

        return Function(signature(node.args, lambda default: self.value(default, scope)), body)

    def comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope
    ) -> Any:
        found = [self.value(node.elt, within) for within in self._rows(node.generators, scope)]
        self.budget.weigh(found)
        return set(found) if isinstance(node, ast.SetComp) else found

    def dictionary_comprehension(self, node: ast.DictComp, scope: Scope) -> dict[Any, Any]:
        return {
            self._hashable(node.key, within): self.value(node.value, within)
            for within in self._rows(node.generators, scope)
        }

    def _rows(self, generators: list[ast.comprehension], scope: Scope) -> Iterator[Scope]:
        if not generators:
            yield scope
            return
        first, *others = generators
        for item in items(self.value(first.iter, scope)):
            self.budget.spend()
            within = {**scope, **_unpacked(first.target, item)}
            if all(self.value(condition, within) for condition in first.ifs):
                yield from self._rows(others, within)

    def _spread(self, nodes: list[ast.expr], scope: Scope) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                found = items(self.value(node.value, scope))
                self.budget.spend(len(found))
                yield from found
            else:
                yield self.value(node, scope)

    def _hashable(self, node: ast.expr, scope: Scope) -> Any:
        key = self.value(node, scope)
        self.budget.weigh(key)
        return key

    def _callee(self, node: ast.expr, scope: Scope) -> Callable[..., Any]:
        entry = self._entry(node, scope)
        if entry:
            return lambda *arguments, **named: self._build(entry, arguments, named)
        if isinstance(node, ast.Attribute):
            method = self._member(members.METHODS, self.value(node.value, scope), node.attr)
            return lambda *arguments, **named: _settled(method(*arguments, **named))
        value = self.value(node, scope)
        if not _may_be_called(value):
            raise ConfigRefused(f"an expression calls a {type(value).__name__}")
        return value  # type: ignore[no-any-return]

    def _entry(self, node: ast.expr, scope: Scope) -> Entry | None:
        path = dotted(node, frozenset(scope), self._aliases)
        return find(path) if path else None

    def _named(self, path: str) -> Any:
        """Return a constant, or a function or class as a value, e.g. to be a transform's."""
        entry = find(path)
        if entry is None or entry.kind not in {Kind.FUNCTION, Kind.VALUE}:
            raise ConfigRefused(f"{path} is named, but only its result may be used")
        return entry.load()

    def _member(self, table: Mapping[str, frozenset[str]], value: Any, name: str) -> Any:
        if not members.has(table, value, name):
            raise ConfigRefused(f"an expression uses {name!r} of a {type(value).__name__}")
        return getattr(value, name)


def _settled(result: Any) -> Any:
    """Turn the views of a dictionary into lists: nothing changes under an expression."""
    return list(result) if isinstance(result, _VIEWS) else result


def _may_be_called(value: Any) -> bool:
    if isinstance(value, Function) or members.is_callable(value):
        return True
    return any(value is function for function in FUNCTIONS.values())


def _unpacked(target: ast.expr, item: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: item}
    if not isinstance(target, ast.Tuple | ast.List):
        raise ConfigRefused("a comprehension assigns to something that is no name")
    found: dict[str, Any] = {}
    for part, value in zip(target.elts, items(item), strict=True):
        found |= _unpacked(part, value)
    return found


#: what evaluates each kind of syntax; ``expression`` lets no other through
_NODES: Mapping[type[ast.expr], Callable[[_Evaluation, Any, Scope], Any]] = {
    ast.Constant: _Evaluation.constant,
    ast.Name: _Evaluation.name,
    ast.Attribute: _Evaluation.attribute,
    ast.Call: _Evaluation.call,
    ast.List: _Evaluation.sequence,
    ast.Tuple: _Evaluation.sequence,
    ast.Set: _Evaluation.sequence,
    ast.Dict: _Evaluation.dictionary,
    ast.UnaryOp: _Evaluation.unary,
    ast.BinOp: _Evaluation.binary,
    ast.BoolOp: _Evaluation.boolean,
    ast.Compare: _Evaluation.compare,
    ast.IfExp: _Evaluation.choice,
    ast.Subscript: _Evaluation.subscript,
    ast.Slice: _Evaluation.slice,
    ast.Lambda: _Evaluation.function,
    ast.ListComp: _Evaluation.comprehension,
    ast.SetComp: _Evaluation.comprehension,
    ast.GeneratorExp: _Evaluation.comprehension,
    ast.DictComp: _Evaluation.dictionary_comprehension,
}
