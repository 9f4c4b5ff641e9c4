"""Partners of units in a seed: chosen by the products of the choosing half, directly and in random bases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.statistics.correlation import BestMatches, BestMatchSearch, CrossComoments
from pytest_unineuron.universality import cost
from pytest_unineuron.universality.cost import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_unineuron.universality.seeds import Counterpart


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for the units of one kind in one seed.

    ``direct`` is the best unit of the seed for each unit, ``rotated`` the best direction in each random basis
    of its standardised units, ``raw`` the best ρ in one basis of unstandardised ones, the paper's baseline.
    """

    direct: BestMatches
    rotated: tuple[BestMatches, ...]
    raw: Tensor

    @property
    def all(self) -> tuple[BestMatches, ...]:
        """What is compared: the unit, then one direction per random basis."""
        return self.direct, *self.rotated


def choose(sums: CrossComoments, seed: Counterpart, kind: str, *, absolute: bool) -> Choice:
    """Partners by the sums of the choosing half, directly and in random bases."""
    search = Searching(seed, kind, sums.shape[0], absolute=absolute)
    search.look(sums, Cell(kind, 0, (0, sums.shape[0]), (0, len(seed.columns(kind))), within=False))
    return search.choice()


class Searching:
    """What has been chosen so far for the units of one kind in one seed, block by block."""

    def __init__(self, seed: Counterpart, kind: str, units: int, *, absolute: bool) -> None:
        self._seed = seed
        self._kind = kind
        self._direct, self._raw, *self._rotated = (
            BestMatchSearch(units, absolute=absolute) for _ in range(2 + seed.draws)
        )

    def look(self, sums: CrossComoments, cell: Cell) -> None:
        """At the correlations of a cell, with units and with the directions of random bases."""
        columns = self._seed.columns(self._kind)
        origin = columns[cell.layers[0]].start
        for layer in range(*cell.layers):
            start, stop = columns[layer].start, columns[layer].stop
            here = slice(start - origin, stop - origin)
            for rows, of_cell in self._rows(cell, stop - start):
                self._direct.update(sums.correlation(here, of_cell), start, rows)
            for search, draw, standardised in (
                *((search, draw, True) for draw, search in enumerate(self._rotated)),
                (self._raw, 0, False),
            ):
                directions = self._seed.directions(self._kind, layer, draw, standardised=standardised)
                for rows, of_cell in self._rows(cell, stop - start):
                    search.update(sums.direction_correlation(here, directions, of_cell), start, rows)

    def _rows(self, cell: Cell, width: int) -> Iterator[tuple[slice, slice]]:
        """The rows of a cell a few at a time: among all units, and within the cell."""
        start, stop = cell.rows
        size = cost.rows_at_once(width, self._seed.member.dtype.itemsize)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            yield slice(first, last), slice(first - start, last - start)

    def choice(self) -> Choice:
        """What was found when all blocks were looked at."""
        return Choice(
            self._direct.best(), tuple(search.best() for search in self._rotated), self._raw.best().correlation
        )
