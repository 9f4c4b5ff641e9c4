"""The answer to one question: a table of what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.timing import Spread

Cell = Spread | float | str | None
"""A measurement with its spread, a plain number, words, or nothing."""


@dataclass(frozen=True)
class Answer:
    """Rows under ``columns``, of which the first says what was measured. ``note`` says how to read them."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As it is written to JSON: a row is an object by column. Raises ValueError if a row is too short or long."""
        return {
            "title": self.title,
            "note": self.note,
            "columns": list(self.columns),
            "rows": [
                {column: _plain(cell) for column, cell in zip(self.columns, row, strict=True)} for row in self.rows
            ],
        }


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Spread):
        ends = {"median": cell.median, "low": cell.low, "high": cell.high}
        return {name: _short(value) for name, value in ends.items()} | {"values": [_short(v) for v in cell.values]}
    return _short(cell) if isinstance(cell, float) else cell


def _short(value: float) -> float:
    """To five digits: nothing here is known more closely."""
    return float(f"{value:.5g}")
