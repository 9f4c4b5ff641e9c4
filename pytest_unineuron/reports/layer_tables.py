"""What a page shows by depth: the roles of neurons, the layers in which they have matches, and their best partners."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.layer_table import MATCHES, PARTNERS, ROLES
from pytest_unineuron.reports.charts import Line, LinePlot
from pytest_unineuron.reports.distribution_charts import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_unineuron.evidence.layer_table import LayerTable


class MatchGrid(NamedTuple):
    """Numbers of matches. A row is a layer with, for each layer of a seed, the number and its share of the largest."""

    corpus: str
    columns: tuple[str, ...]
    rows: list[tuple[int, list[tuple[int, float]]]]


class Depth(NamedTuple):
    """What is shown of one model: lines of roles over its layers, and a grid and a list of partners of each corpus."""

    roles: list[LinePlot]
    matches: list[MatchGrid]
    partners: list[LayerTable]


def by_depth(tables: Iterable[LayerTable]) -> dict[str, Depth]:
    """What is shown of every model. A role that no arm has is left out, and so are matches where there are none."""
    ordered = sorted(tables, key=lambda each: (each.model, each.corpus, each.control, each.draw))
    found = {model: list(of_model) for model, of_model in groupby(ordered, lambda each: each.model)}
    return {model: _depth(of_model) for model, of_model in found.items()}


def _depth(tables: list[LayerTable]) -> Depth:
    def named(name: str) -> list[LayerTable]:
        return [table for table in tables if table.name == name]

    matches = [_grid(table) for table in named(MATCHES) if any(any(row[1:]) for row in table.rows)]
    return Depth(_role_plots(named(ROLES)), matches, [table for table in named(PARTNERS) if table.rows])


def _role_plots(arms: list[LayerTable]) -> list[LinePlot]:
    plots = []
    for number, role in enumerate(arms[0].columns if arms else (), start=1):
        layers = tuple(row[0] for row in arms[0].rows)
        lines = tuple(Line(arm.label, kind_of(arm), tuple(row[number] for row in arm.rows)) for arm in arms)
        if len(layers) > 1 and any(any(line.values) for line in lines):
            plots.append(LinePlot(f"Neurons of {role}: share of each layer", layers, lines))
    return plots


def _grid(table: LayerTable) -> MatchGrid:
    most = max(max(row[1:]) for row in table.rows)
    rows = [(row[0], [(count, round(count / most, 3)) for count in row[1:]]) for row in table.rows]
    return MatchGrid(table.corpus, table.columns, rows)
