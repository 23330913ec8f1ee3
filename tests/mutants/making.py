"""Mutants of a module: its source with one small thing changed inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.mutants.alike import RULES, Place

_OPPOSITE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OTHER: Final[dict[type[ast.operator], type[ast.operator]]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}


@attrs.frozen(kw_only=True)
class Mutant:
    """One change: the part of the source from ``start`` to ``end`` becomes ``text``."""

    module: str
    function: str
    kind: str
    number: int
    line: int
    start: int
    end: int
    text: str = attrs.field(repr=False)
    left_out: str = ""
    """Why it is not tried, where it is not."""

    @property
    def name(self) -> str:
        """The same as long as the function does not change, wherever in its file it stands."""
        return f"{self.module}:{self.function}:{self.kind}:{self.number}"

    def source(self, original: str) -> str:
        """The module with the change in it."""
        raw = original.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()


def mutants_of(module: str, path: Path) -> Iterator[Mutant]:
    """Every mutant of a module."""
    source = path.read_text(encoding="utf-8")
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    above = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    for name, function in _functions(tree, ""):
        counts: dict[str, int] = {}
        for kind, node, text in _changes(function):
            place = Place(kind, node, _around(node, above), module)
            counts[kind] = counts.get(kind, -1) + 1
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            yield Mutant(
                module=module,
                function=name,
                kind=kind,
                number=counts[kind],
                line=node.lineno,
                start=starts[node.lineno - 1] + node.col_offset,
                end=starts[node.end_lineno - 1] + node.end_col_offset,
                text=text,
                left_out=next((reason for reason, holds in RULES.items() if holds(place)), ""),
            )


def _around(node: ast.AST, above: Mapping[ast.AST, ast.AST]) -> tuple[ast.AST, ...]:
    """What the node stands in, the outermost first."""
    found: list[ast.AST] = []
    while (parent := above.get(node)) is not None:
        found.insert(0, parent)
        node = parent
    return tuple(found)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function):
            yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _changes(function: _Function) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
    """What may be changed in the body: neither annotations nor decorators nor what is said to people."""
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.expr | ast.stmt):
                yield from ((kind, node, text) for kind, text in _changed(node))


def _changed(node: ast.AST) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPPOSITE:
            other = ast.Compare(left=left, ops=[_OPPOSITE[type(op)]()], comparators=[right])
            yield "opposite", f"({ast.unparse(other)})"
        case ast.BoolOp(op=op, values=values) if not _is_text(*values):
            yield (
                "and-or",
                f"({ast.unparse(ast.BoolOp(op=ast.Or() if isinstance(op, ast.And) else ast.And(), values=values))})",
            )
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OTHER and not _is_text(left, right):
            yield "arithmetic", f"({ast.unparse(ast.BinOp(left=left, op=_OTHER[type(op)](), right=right))})"
        case ast.Constant(value=bool(value)):
            yield "constant", str(not value)
        case ast.Constant(value=int(value)):
            yield "constant", str(value + 1)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", "return None"
        case ast.Expr(value=ast.Call() | ast.Await()) if not _is_said(node.value):
            yield "left-out", "pass"
        case ast.Raise():
            yield "left-out", "pass"
        case ast.AugAssign():
            yield "left-out", "pass"
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "branch", f"({ast.unparse(ast.IfExp(test=test, body=orelse, orelse=body))})"


def _is_text(*sides: ast.expr) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in sides
    )


def _is_said(value: ast.expr) -> bool:
    """Whether a statement only tells the log something."""
    call = value.value if isinstance(value, ast.Await) else value
    return isinstance(call, ast.Call) and ast.unparse(call.func).startswith(("logger.", "_logger.", "log_"))
