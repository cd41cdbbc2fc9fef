"""The text of an expression to a checked syntax tree. Nothing is evaluated here.

A tree is fit for the interpreter when it has no faults: only syntax from a list, only names that
the expression binds itself, that the document imports into our tables, or that Python always has.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.config import ids, members
from pipeline.config.limits import DEEPEST_EXPRESSION, LARGEST_INTEGER, LONGEST_EXPRESSION
from pipeline.config.plain_functions import FUNCTIONS
from pipeline.config.tables.entry import Entry
from pipeline.config.tables.lookup import find

#: what MONAI has at hand in every expression
DEFAULT_ALIASES: Mapping[str, str] = {
    "monai": "monai",
    "torch": "torch",
    "np": "numpy",
    "numpy": "numpy",
}
_SYNTAX = (
    ast.Constant | ast.Name | ast.Attribute | ast.Call | ast.keyword | ast.Starred
    | ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare | ast.IfExp | ast.Subscript | ast.Slice
    | ast.Tuple | ast.List | ast.Dict | ast.Set
    | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.comprehension
    | ast.Lambda | ast.arguments | ast.arg
    | ast.Add | ast.Sub | ast.Mult | ast.Div | ast.FloorDiv | ast.Mod | ast.Pow
    | ast.BitAnd | ast.BitOr | ast.BitXor | ast.unaryop | ast.boolop | ast.cmpop
    | ast.expr_context
)  # fmt: skip
_COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_CONSTANTS = (str, int, float, bool, type(None), type(...))


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
        tree: the syntax, references replaced by names.
        references: the id behind each of these names.
        aliases: the full name behind each name of an imported module.
        entries: the rows of the tables that it names.
        faults: why it is refused; none for one that is understood.

    """

    tree: ast.expr
    references: Mapping[str, str]
    aliases: Mapping[str, str]
    entries: tuple[Entry, ...] = ()
    faults: tuple[str, ...] = ()


def imports(statement: str) -> dict[str, str]:
    """Return the names that a statement ``$import a as b`` binds, with what they stand for."""
    try:
        found = ast.parse(statement.removeprefix(ids.EXPRESSION).strip()).body[:1]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return {}
    bound: dict[str, str] = {}
    for node in found:
        if isinstance(node, ast.Import):
            for name in node.names:
                first = name.name.partition(".")[0]
                bound[name.asname or first] = name.name if name.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            bound |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return bound


def parse(text: str, aliases: Mapping[str, str]) -> Expression:
    """Parse and check ``$...``."""
    references: dict[str, str] = {}
    source = text.removeprefix(ids.EXPRESSION).strip()
    nothing = ast.Constant(None)
    if len(source) > LONGEST_EXPRESSION:
        fault = f"it is longer than {LONGEST_EXPRESSION} characters"
        return Expression(nothing, {}, aliases, faults=(fault,))
    if "__reference" in source:
        return Expression(nothing, {}, aliases, faults=("it uses a name that is kept for us",))
    replaced = ids.replace_references(source, references)
    names = {name: reference for reference, name in references.items()}
    try:
        tree = ast.parse(replaced, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Expression(nothing, names, aliases, faults=("it is not well formed",))
    if _depth(tree) > DEEPEST_EXPRESSION:
        fault = f"it nests deeper than {DEEPEST_EXPRESSION} levels"
        return Expression(nothing, names, aliases, faults=(fault,))
    checker = _Checker(names, aliases)
    checker.visit(tree, frozenset())
    entries = tuple(dict.fromkeys(checker.entries))
    return Expression(tree, names, aliases, entries, tuple(dict.fromkeys(checker.faults)))


def dotted(node: ast.expr, bound: frozenset[str], aliases: Mapping[str, str]) -> str | None:
    """Return the full name of ``a.b.c`` whose first name is an import that nothing hides."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id in bound or node.id not in aliases:
        return None
    return ".".join([aliases[node.id], *reversed(parts)])


def bound_names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a lambda or a comprehension binds."""
    if isinstance(node, ast.Lambda):
        given = node.args
        for group in (given.posonlyargs, given.args, given.kwonlyargs, [given.vararg, given.kwarg]):
            yield from (argument.arg for argument in group if argument is not None)
    elif isinstance(node, _COMPREHENSIONS):
        for generator in node.generators:
            yield from (
                name.id for name in ast.walk(generator.target) if isinstance(name, ast.Name)
            )


class _Checker:
    def __init__(self, references: Mapping[str, str], aliases: Mapping[str, str]) -> None:
        self._references = references
        self._aliases = aliases
        self.faults: list[str] = []
        self.entries: list[Entry] = []

    def visit(self, node: ast.AST, bound: frozenset[str]) -> None:
        if not isinstance(node, _SYNTAX):
            self.faults.append(f"{type(node).__name__} is no syntax that is understood here")
            return
        if isinstance(node, ast.Lambda | _COMPREHENSIONS):
            bound |= set(bound_names(node))
        if isinstance(node, ast.comprehension) and node.is_async:
            self.faults.append("an asynchronous comprehension is no syntax that is understood here")
        if isinstance(node, ast.Constant):
            self._constant(node)
        elif isinstance(node, ast.Name):
            self._name(node, bound)
        elif isinstance(node, ast.Attribute):
            self._attribute(node, bound, members.EVERY_ATTRIBUTE)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            self._attribute(node.func, bound, members.EVERY_METHOD)
            for child in (*node.args, *node.keywords):
                self.visit(child, bound)
        else:
            for child in ast.iter_child_nodes(node):
                self.visit(child, bound)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if not isinstance(value, _CONSTANTS):
            self.faults.append(f"a {type(value).__name__} is no constant that is understood here")
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            self.faults.append(f"it holds a whole number beyond {LARGEST_INTEGER}")
        elif isinstance(value, str) and "__reference_" in value:
            self.faults.append("it holds a reference within quotes")

    def _name(self, node: ast.Name, bound: frozenset[str]) -> None:
        if not isinstance(node.ctx, ast.Load) or node.id in bound or node.id in self._references:
            return
        if node.id in self._aliases:
            self._path(self._aliases[node.id])
        elif node.id not in FUNCTIONS:
            self.faults.append(f"the name {node.id!r} is not known")

    def _attribute(
        self, node: ast.Attribute, bound: frozenset[str], allowed: frozenset[str]
    ) -> None:
        path = dotted(node, bound, self._aliases)
        if path is not None and (find(path) or not self._begins_with_row(path)):
            self._path(path)
            return
        if node.attr.startswith("_"):
            self.faults.append(f"the private attribute {node.attr!r} is refused")
        elif node.attr not in allowed:
            self.faults.append(f"the attribute {node.attr!r} is not one that may be used")
        self.visit(node.value, bound)

    def _begins_with_row(self, path: str) -> bool:
        parts = path.split(".")
        return any(find(".".join(parts[:end])) for end in range(1, len(parts)))

    def _path(self, path: str) -> None:
        entry = find(path)
        if entry is not None:
            self.entries.append(entry)
        elif path.partition(".")[0] == "scripts":
            self.faults.append(f"{path} is code of the bundle, which never runs")
        else:
            self.faults.append(f"{path} is not in the tables of what an expression may use")


def _depth(tree: ast.AST) -> int:
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return deepest
