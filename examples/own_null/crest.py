"""A statistic of one's own: the crest factor, how far a unit's largest value lies above its root mean square."""

from dataclasses import dataclass

import torch

from pytest_unineuron import extend
from pytest_unineuron.statistics.accumulator import Accumulator, Statistic


class CrestAccumulator(Accumulator["Crest"]):
    """The sums in the making, to which tiles [token, unit] are added in place."""

    def __init__(self, units, device):
        self._count = 0
        self._squares = torch.zeros(units, dtype=torch.float64, device=device)
        self._largest = torch.zeros(units, dtype=torch.float64, device=device)

    def update(self, tile, scratch):
        """Add a tile. Half precision is widened first."""
        wide = tile.double()
        self._count += len(tile)
        self._squares += wide.square().sum(dim=0)
        if len(tile):
            self._largest = torch.maximum(self._largest, wide.abs().amax(dim=0))

    def result(self):
        """Return the statistic so far, which later tiles do not change."""
        count = torch.full((), self._count, dtype=torch.float64, device=self._squares.device)
        return Crest(count, self._squares.clone(), self._largest.clone())


@extend.statistic("crest", sites=["post"])
@dataclass(frozen=True, eq=False)
class Crest(Statistic):
    """What the crest factor is made of: the number of tokens, [], the sum of squares and the largest size, [unit]."""

    accumulator = CrestAccumulator

    count: torch.Tensor
    squares: torch.Tensor
    largest: torch.Tensor

    def __add__(self, other):
        """Return the statistic of the tokens of both."""
        largest = torch.maximum(self.largest, other.largest)
        return Crest(self.count + other.count, self.squares + other.squares, largest)

    @property
    def crest(self):
        """The largest size over the root mean square, [unit], at least 1; nan for a unit that is always zero."""
        return self.largest / (self.squares / self.count).sqrt()
