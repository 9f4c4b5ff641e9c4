"""The result of one benchmark: a table of measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.timing import Samples

TableCell = Samples | float | str | None
"""Repeated measurements, one number, words, or nothing."""


@dataclass(frozen=True)
class BenchmarkResult:
    """A table: ``rows`` under ``columns``, the first of which says what was measured. ``note`` explains it."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The table as JSON data, in which a row is an object by column.

        Raises ValueError if a row has more or fewer cells than there are columns.
        """
        return {
            "title": self.title,
            "note": self.note,
            "columns": list(self.columns),
            "rows": [
                {column: _as_json(cell) for column, cell in zip(self.columns, row, strict=True)} for row in self.rows
            ],
        }


def _as_json(cell: TableCell) -> Any:
    if isinstance(cell, Samples):
        summary = {"median": cell.median, "low": cell.low, "high": cell.high}
        return {name: _round(value) for name, value in summary.items()} | {"values": [_round(v) for v in cell.values]}
    return _round(cell) if isinstance(cell, float) else cell


def _round(value: float) -> float:
    """To five digits, which is more than any measurement here is exact to."""
    return float(f"{value:.5g}")
