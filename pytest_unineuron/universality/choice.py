"""Partners of units in a seed, chosen on the selection split: among its units, and in random bases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.statistics.correlation import BestMatches, BestMatchSearch
from pytest_unineuron.universality.cost import search_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_unineuron.statistics.correlation import CrossComoments
    from pytest_unineuron.universality.blocks import Cell
    from pytest_unineuron.universality.seeds import SeedActivations


@dataclass(frozen=True, eq=False)
class Choice:
    """The partners of the units of one kind in one seed.

    ``direct`` is the best unit of the seed for each unit, ``rotated`` the best direction in each random basis of its
    standardised units, and ``raw`` [unit] the best ρ in one basis of unstandardised units, the paper's baseline.
    """

    direct: BestMatches
    rotated: tuple[BestMatches, ...]
    raw: Tensor

    @property
    def all(self) -> tuple[BestMatches, ...]:
        """Everything that is read on the held-out split: the unit, then one direction per random basis."""
        return self.direct, *self.rotated


class PartnerSearch:
    """The search for partners of the units of one kind in one seed, cell by cell of their correlations.

    ``absolute`` takes the strongest correlation of either sign.
    """

    def __init__(self, seed: SeedActivations, kind: str, units: int, *, absolute: bool) -> None:
        self._seed = seed
        self._kind = kind
        self._direct, self._raw, *self._rotated = (
            BestMatchSearch(units, absolute=absolute) for _ in range(2 + seed.n_bases(kind))
        )

    def update(self, sums: CrossComoments, cell: Cell) -> None:
        """Search the correlations of a cell with units, and with the directions of random bases."""
        columns = self._seed.columns(self._kind)
        origin = columns[cell.layers[0]].start
        for layer in range(*cell.layers):
            start, stop = columns[layer].start, columns[layer].stop
            within_cell = slice(start - origin, stop - origin)
            for rows, cell_rows in self._rows(cell, stop - start):
                self._direct.update(sums.correlation(within_cell, cell_rows), start, rows)
            for search, draw, standardised in self._bases:
                directions = self._seed.directions(self._kind, layer, draw, standardised=standardised)
                for rows, cell_rows in self._rows(cell, stop - start):
                    search.update(sums.direction_correlation(within_cell, directions, cell_rows), start, rows)

    @property
    def _bases(self) -> list[tuple[BestMatchSearch, int, bool]]:
        """The search in each random basis, its draw, and whether its units are standardised."""
        return [*((search, draw, True) for draw, search in enumerate(self._rotated)), (self._raw, 0, False)]

    def _rows(self, cell: Cell, width: int) -> Iterator[tuple[slice, slice]]:
        """The rows of a cell a few at a time: their places among all units, and within the cell."""
        start, stop = cell.rows
        size = search_rows(width, self._seed.model.dtype.itemsize)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            yield slice(first, last), slice(first - start, last - start)

    def choice(self) -> Choice:
        """The partners that were found in all cells."""
        rotated = tuple(search.best() for search in self._rotated)
        return Choice(self._direct.best(), rotated, self._raw.best().correlation)
