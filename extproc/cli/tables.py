"""What commands print: a table for people, one JSON document for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

#: Where no terminal says how wide it is, lines are as long as they must be.
_WIDE = 240


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str = "none") -> None:
    """Rows as a table of these columns, or all of every row as JSON."""
    found = list(rows)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not found:
        typer.echo(empty)
    else:
        _print(columns, ([_cell(name, row.get(name)) for name in columns] for row in found))


def show_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: a line for each of its fields that says something, or all of it as JSON."""
    if as_json:
        typer.echo(json.dumps(row, indent=2))
    else:
        _print(("", ""), ([name, _cell(name, value)] for name, value in row.items() if value not in (None, [], {}, "")))


def show_made(made: Mapping[str, Any], line: str, *, as_json: bool) -> None:
    """What a command has made: the one line that a script wants, or all of it as JSON."""
    typer.echo(json.dumps(made, indent=2) if as_json else line)


def _print(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(*columns, box=None, pad_edge=False, show_header=any(columns))
    for line in lines:
        # As text: a name in square brackets is not markup.
        table.add_row(*(Text(cell, overflow="fold") for cell in line))
    Console(highlight=False, width=None if terminal else _WIDE).print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _MONEY and isinstance(value, int | float):
        # To the nano: a request may cost less than a millionth.
        return f"${value:,.9f}".rstrip("0").rstrip(".")
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "-"
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


_MONEY = frozenset({"spend", "total_spend", "max_budget", "soft_budget", "max_budget_in_team", "cost"})
