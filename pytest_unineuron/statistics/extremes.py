"""The tokens at which every unit is strongest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import torch

from pytest_unineuron.statistics.layer_batch import CHUNK, gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.statistics.layer_batch import LayerBatch
    from pytest_unineuron.statistics.scratch import Scratch

E = TypeVar("E", bound="Extremes")

N_LARGEST = 10
JOINED = 4
"""So many chunks make a larger one,"""
FEW = 100
"""until there are no more than this: fewer are searched at once."""


@dataclass(frozen=True, eq=False)
class Extremes:
    """The ``N_LARGEST`` largest values of every unit and the tokens they came from, [rank, unit], largest first.

    ``tokens`` are numbers of tokens in the sweep; a rank that was never filled has value −inf and token −1.
    """

    values: Tensor
    tokens: Tensor

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The extremes of one batch: ``values`` [token, unit], ``tokens`` [token]."""
        return gathered(cls.accumulator(values.shape[1], values.device), values, tokens, labels)

    @classmethod
    def accumulator(cls, units: int, device: Any) -> ExtremesAccumulator[Self]:
        """The extremes of nothing yet."""
        return ExtremesAccumulator(cls, units, device)

    def __add__(self, other: Self) -> Self:
        """The extremes of both batches together."""
        both = torch.cat([self.values, other.values.to(self.values)])
        top, where = both.topk(N_LARGEST, dim=0)
        return type(self)(top, torch.cat([self.tokens, other.tokens]).gather(0, where))

    @classmethod
    def concat_units(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other."""
        return cls(torch.cat([p.values for p in parts], dim=1), torch.cat([p.tokens for p in parts], dim=1))


class ExtremesAccumulator(Generic[E]):
    """Extremes under way, [unit, rank] in no order.

    To select among all tokens costs more than the rest of a sweep. So tokens are taken in chunks, and chunks in chunks
    of those: what is among the largest lies in the chunks with the largest maxima, and is looked for only there, and
    only for units of which a chunk beats the least value that is kept.
    """

    def __init__(self, kind: type[E], units: int, device: Any) -> None:
        self._kind = kind
        self._values = torch.full((units, N_LARGEST), float("-inf"), device=device)
        self._tokens = torch.full((units, N_LARGEST), -1, device=device)
        self._maxima: list[Tensor] = []

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """The maxima of its chunks are kept until the batch is complete."""
        self._maxima.append(_chunks(tile, CHUNK).amax(dim=1))

    def finish_batch(self, rows: LayerBatch) -> None:
        """The batch is searched, from the coarsest chunks to single tokens."""
        levels = [torch.cat(self._maxima)]  # each [chunk, unit]
        self._maxima.clear()
        while len(levels[-1]) > FEW:
            chunks = _chunks(levels.pop(), JOINED)
            levels += [chunks.flatten(0, 1), chunks.amax(dim=1)]
        units = self._beaten(levels[-1])
        near = torch.arange(len(levels[-1]), device=units.device).expand(len(units), -1)  # [unit, candidate]
        for size, level in reversed(list(zip([CHUNK, *[JOINED] * (len(levels) - 1)], levels, strict=True))):
            best = level[:, units].T.gather(1, near).topk(min(N_LARGEST, near.shape[1]), dim=1, sorted=False).indices
            first = near.gather(1, best)[..., None] * size
            near = (first + torch.arange(size, device=units.device)).flatten(1)
        there, near = near < len(rows), near.clamp_max(len(rows) - 1)
        values = rows.values.take(rows.at(near) * len(self._values) + units[:, None])
        values = values.masked_fill(~there, float("-inf"))
        both = torch.cat([self._values[units].to(values), values], dim=1)
        top, where = both.topk(N_LARGEST, dim=1, sorted=False)
        new = rows.tokens.take(near.gather(1, (where - N_LARGEST).clamp_min(0)))
        old = self._tokens[units].gather(1, where.clamp_max(N_LARGEST - 1))
        self._values = self._values.to(values).index_copy(0, units, top)
        self._tokens = self._tokens.index_copy(0, units, torch.where(where < N_LARGEST, old, new))

    def _beaten(self, maxima: Tensor) -> Tensor:
        """The units that may have a new extreme; on a GPU all, where to ask would be to wait."""
        if maxima.device.type != "cpu":
            return torch.arange(maxima.shape[1], device=maxima.device)
        beaten: Tensor = (maxima > self._values.amin(dim=1)).any(dim=0).nonzero().flatten()
        return beaten

    def result(self) -> E:
        """The extremes so far."""
        values, order = self._values.sort(dim=1, descending=True)
        tokens = self._tokens.gather(1, order).masked_fill(values == float("-inf"), -1)  # never filled
        return self._kind(values.T.contiguous(), tokens.T.contiguous())


def _chunks(values: Tensor, size: int) -> Tensor:
    """LayerBatch in chunks, [chunk, row, unit]; the last is filled up with −inf."""
    if missing := -len(values) % size:
        values = torch.cat([values, values.new_full((missing, values.shape[1]), float("-inf"))])
    return values.reshape(-1, size, values.shape[1])
