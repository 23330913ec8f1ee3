"""How many lines a connector has."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from pathlib import Path
from typing import Any

from docs.tables import table

_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines(connectors: dict[str, Any]) -> str:
    """The connectors by their lines, the fewest first; those with webhooks read them too."""
    rows = []
    for name, connector in connectors.items():
        files = _files(connector)
        every, code = (sum(each) for each in zip(*map(_counted, files), strict=True))
        parts = ", ".join(f"`{file.name}`" for file in files if file.name != "__init__.py")
        webhooks = "yes" if hasattr(connector, "connector_parse_webhook") else "no"
        rows.append((every, code, (f"[{connector.info.title}](../connectors/{name}.md)", parts, webhooks, every, code)))
    ordered = [row for _, _, row in sorted(rows)]
    return table(("Connector", "Files", "Reads webhooks", "Lines", "of which code"), ordered)


def _files(connector: Any) -> list[Path]:
    module = Path(inspect.getfile(type(connector)))
    return sorted(module.parent.glob("*.py")) if module.name == "connector.py" else [module]


def _counted(file: Path) -> tuple[int, int]:
    """All lines, and those with something beside comments and docstrings."""
    text = file.read_text(encoding="utf-8")
    said: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            said |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            code |= set(range(token.start[0], token.end[0] + 1))
    return text.count("\n"), len(code - said)
