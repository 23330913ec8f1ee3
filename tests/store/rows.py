"""A row for any table of the store."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def row(table: sa.Table, **values: Any) -> dict[str, Any]:
    """A value that fits for every column that must have one; ``values`` are put in their place."""
    needed = [column for column in table.columns if not column.nullable and column.server_default is None]
    return {column.name: _value(column) for column in needed} | values


def _value(column: sa.Column[Any]) -> Any:
    kind = column.type.python_type
    if kind is bytes:
        return b"x" * (getattr(column.type, "length", None) or 1)
    return {str: "x", int: 1, float: 1.0, bool: True}[kind]
