"""Products of a comparison in blocks that fit into a memory budget. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from pytest_unineuron.errors import OptionError
from pytest_unineuron.system.machine import GIB, format_gib
from pytest_unineuron.universality.cost import MIN_ROWS

if TYPE_CHECKING:
    from pytest_unineuron.universality.cost import ComparisonCost


@dataclass(frozen=True)
class Cell:
    """A part of the correlations of one kind with one seed: a range of rows by a range of the seed's layers.

    ``within`` is whether the covariances within these layers of the seed are computed as well.
    """

    kind: str
    seed: int
    rows: tuple[int, int]
    layers: tuple[int, int]
    within: bool


ProductBlock = tuple[Cell, ...]
"""Cells that are computed together, in one reading of the selection split."""


def blocks_within(cost: ComparisonCost, memory: float) -> list[ProductBlock]:
    """The blocks of a comparison in so many bytes.

    A seed is taken as a whole where it fits, else some of the rows at a time, else of these by some of the seed's
    layers. Raises OptionError that says what the least memory is.
    """
    if memory < cost.least_bytes:
        raise OptionError(
            f"--unineuron-memory: comparing units with {len(cost.seeds)} seeds has {format_gib(memory)} to work in and "
            f"takes at least {format_gib(cost.least_bytes)} with batches of {cost.batch_tokens} tokens; "
            f"say --unineuron-memory={math.ceil(2 * cost.least_bytes / GIB)}, or a smaller --unineuron-batch"
        )
    packing = _Packing(cost, memory - cost.working_bytes)
    for seed in range(len(cost.seeds)):
        for kind in cost.kinds:
            packing.add(kind, seed)
    return packing.blocks


class _Packing:
    """Blocks that are filled one after the other."""

    def __init__(self, cost: ComparisonCost, room: float) -> None:
        self._cost = cost
        self._room = room
        self._left = room
        self._cells: list[list[Cell]] = [[]]

    @property
    def blocks(self) -> list[ProductBlock]:
        return [tuple(cells) for cells in self._cells if cells]

    def add(self, kind: str, seed: int) -> None:
        """Add all correlations of one kind with one seed."""
        within = seed not in self._cost.known_seeds
        rows, layers = sum(self._cost.subject[kind]), len(self._cost.seeds[seed][kind])
        whole = Cell(kind, seed, (0, rows), (0, layers), within)
        if self._bytes(whole) <= self._room:
            self._append(whole)
            return
        for run in self._layer_runs(kind, seed, within):
            self._add_rows(kind, seed, run, within)

    def _add_rows(self, kind: str, seed: int, layers: tuple[int, int], within: bool) -> None:
        """Add the correlations with a run of layers, as many rows at a time as fit."""
        start, rows = 0, sum(self._cost.subject[kind])
        row_bytes = self._cost.bytes_per_number * sum(self._cost.seeds[seed][kind][slice(*layers)])
        while start < rows:
            taken = self._bytes(Cell(kind, seed, (0, 0), layers, within))
            if (height := (self._left - taken) // row_bytes) < min(MIN_ROWS, rows - start):
                self._next_block()
                height = (self._room - taken) // row_bytes
            stop = self._aligned(kind, start, min(rows, start + int(height)))
            self._append(Cell(kind, seed, (start, stop), layers, within))
            start, within = stop, False

    def _layer_runs(self, kind: str, seed: int, within: bool) -> list[tuple[int, int]]:
        """The layers of a seed in runs, each as long as some rows by it fit beside what is within its layers."""
        runs, start = [], 0
        layers = len(self._cost.seeds[seed][kind])
        # At least half of the room is for the products, where one layer leaves so much.
        rows = min(sum(self._cost.subject[kind]), MIN_ROWS)
        for stop in range(1, layers + 1):
            longer = Cell(kind, seed, (0, rows), (start, stop + 1), within)
            if stop == layers or self._bytes(longer) > self._room // 2:
                runs.append((start, stop))
                start = stop
        return runs

    def _bytes(self, cell: Cell) -> int:
        """Bytes of the products of a cell, and of the covariances within its layers if it computes them."""
        sizes = self._cost.seeds[cell.seed][cell.kind][slice(*cell.layers)]
        within = sum(m * m for m in sizes) if cell.within else 0
        return self._cost.bytes_per_number * ((cell.rows[1] - cell.rows[0]) * sum(sizes) + within)

    def _aligned(self, kind: str, start: int, stop: int) -> int:
        """The last end of a layer up to ``stop``, where there is one."""
        ends = [end for end in accumulate(self._cost.subject[kind]) if start < end <= stop]
        return ends[-1] if ends else stop

    def _append(self, cell: Cell) -> None:
        size = self._bytes(cell)
        if size > self._left:
            self._next_block()
        self._left -= size
        self._cells[-1].append(cell)

    def _next_block(self) -> None:
        if self._cells[-1]:
            self._cells.append([])
        self._left = self._room
