"""Finds SQL that is made of anything but constants, in Python's syntax tree.

What a module computes while it is imported is constant: no import reads the environment or does
I/O (test_import_rules.py). So a statement may be whatever a module's top level makes, and nothing
that a function makes of its arguments, except where every call hands it a constant.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUN = {"execute", "executemany", "copy", "stream", "copy_expert", "read_sql", "read_sql_query"}
_COMPOSED = {"SQL", "Identifier"}
_QUOTED = {"Identifier", "Literal", "Placeholder"}  # psycopg.sql quotes what is in these
_SAME_TEXT = {"encode", "format", "join"}
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Seen: TypeAlias = "frozenset[tuple[_Function | None, str]]"


@dataclass
class _Module:
    """A module, and what of it is known at import."""

    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
        for node in ast.walk(self.tree):
            if self.function(node) is not None:
                continue
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.names.add(node.id)
        for node in ast.walk(self.tree):  # also in functions: where psycopg is imported
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}

    def function(self, node: ast.AST) -> _Function | None:
        """The function that a node stands in."""
        above = self.parents.get(node)
        while above is not None and not isinstance(above, _Function | ast.Lambda):
            above = self.parents.get(above)
        if isinstance(above, ast.Lambda):
            return self.function(above)
        return above

    def constant(self, node: ast.expr, seen: _Seen = frozenset()) -> bool:
        """Whether an expression's text is known at import, or quoted by psycopg.sql."""
        match node:
            case ast.Constant():
                return True
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                return module in self.names and name.isupper()
            case ast.Name(id=name):
                here = (self.function(node), name)
                return here not in seen and self._name(node, seen | {here})
        parts = _parts(node)
        return parts is not None and all(self.constant(part, seen) for part in parts)

    def _name(self, node: ast.Name, seen: _Seen) -> bool:
        function = self.function(node)
        while function is not None:
            if node.id in _parameters(function):
                return self._always_given(function, node.id, seen)
            bound = list(_bound(function, node.id))
            if bound:
                return all(value is not None and self.constant(value, seen) for value in bound)
            function = self.function(function)
        return node.id in self.names

    def _always_given(self, function: _Function, name: str, seen: _Seen) -> bool:
        """Whether every call of a module's own function hands a constant to a parameter."""
        if not function.name.startswith("_"):
            return False
        where = _parameters(function).index(name)
        calls = [
            call
            for call in ast.walk(self.tree)
            if isinstance(call, ast.Call)
            and function.name in (getattr(call.func, "id", ""), getattr(call.func, "attr", ""))
        ]
        given = []
        for call in calls:
            by_name = [keyword.value for keyword in call.keywords if keyword.arg == name]
            given += by_name or call.args[where : where + 1]
        return bool(calls) and all(self.constant(value, seen) for value in given)


def offenders(source: str) -> list[str]:
    """Return the calls of a module that run, or compose, SQL which is not made of constants."""
    module = _Module(ast.parse(source))
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in _RUN:
            wrong = not module.constant(node.args[0])
        elif called in _COMPOSED:
            wrong = not all(module.constant(each) for each in node.args)
        else:
            continue
        if wrong:
            found.append(f"{called}({', '.join(ast.unparse(each) for each in node.args[:2])})")
    return found


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """What an expression's text is made of; None where that cannot be said."""
    match node:
        case ast.JoinedStr(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            return parts
        case ast.FormattedValue(value=inner) | ast.Subscript(value=inner):
            return [inner]
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            return [left, right]
        case ast.Call(func=ast.Attribute(value=holder, attr=called), args=given):
            named = [keyword.value for keyword in node.keywords]
            if called in _QUOTED:
                return []
            if called == "SQL":
                return given
            if called in _SAME_TEXT:
                return [holder, *given, *named]
    return None


def _parameters(function: _Function) -> list[str]:
    """Names of parameters, in the order of a call: without `self` and `cls`."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def _bound(function: _Function, name: str) -> Iterator[ast.expr | None]:
    """What a function binds to a name; None where that is not a plain assignment or loop."""
    plain = set()
    for node in ast.walk(function):
        targets: list[ast.expr] = getattr(node, "targets", [getattr(node, "target", None)])
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.For):
            continue
        for target in targets:
            # Of a loop over pairs, each: all of what it goes over must be constant.
            loop = isinstance(node, ast.For)
            for each in target.elts if loop and isinstance(target, ast.Tuple) else [target]:
                if isinstance(each, ast.Name) and each.id == name:
                    plain.add(each)
                    yield node.iter if isinstance(node, ast.For) else node.value
    for node in ast.walk(function):
        stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
        if stored and node not in plain:
            yield None
