"""The best match of every unit of a model among the units of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class BestMatches:
    """For every unit of the first model its best match in the second, and ρ with it, within ± 1; all [unit].

    ``sign`` is −1 if the best match is an opposite, which only counts where signs are arbitrary. A unit that never
    varied has partner −1, and ρ and sign nan.
    """

    partner: Tensor
    correlation: Tensor
    sign: Tensor


class BestMatchSearch:
    """The best matches of so many units so far, in blocks of correlations.

    ``absolute`` finds the strongest correlation of either sign. Of equal correlations the first one stays.
    """

    def __init__(self, units: int, *, absolute: bool = False) -> None:
        self._units = units
        self._absolute = absolute
        self._best: BestMatches | None = None  # made with the first block, whose dtype and device it has

    def update(self, block: Tensor, offset: int, rows: slice = slice(None)) -> None:
        """Search correlations [unit of ``rows``, unit of the second model from ``offset`` on]."""
        scores = block.abs() if self._absolute else block
        value, partner = scores.max(dim=1)
        if value.isnan().any():  # one nan makes its whole row nan; replacing them first would cost as much again
            value, partner = scores.nan_to_num(nan=-torch.inf).max(dim=1)
        opposite = block.gather(1, partner[:, None])[:, 0] < 0 if self._absolute else torch.zeros_like(value).bool()
        sign = torch.where(opposite, -1.0, 1.0).to(value.dtype)
        if self._best is None:
            nothing = value.new_full((self._units,), -torch.inf)
            self._best = BestMatches(partner.new_full((self._units,), -1), nothing, torch.ones_like(nothing))
        best = self._best
        better = value > best.correlation[rows]
        for old, new in ((best.partner, partner + offset), (best.correlation, value), (best.sign, sign)):
            old[rows] = torch.where(better, new, old[rows])

    def best(self) -> BestMatches:
        """Return the best matches. Raises ValueError if no block was searched."""
        if self._best is None:
            raise ValueError("best matches need at least one block of correlations, got none")
        found = self._best
        none = found.correlation == -torch.inf
        return BestMatches(
            torch.where(none, -1, found.partner),
            torch.where(none, torch.nan, found.correlation.clamp(-1, 1)),  # beyond by rounding alone
            torch.where(none, torch.nan, found.sign),
        )
