"""The tokens at which every unit is strongest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.statistics.accumulator import Accumulator, Statistic
from pytest_unineuron.statistics.layer_batch import ROWS_PER_CHUNK

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.statistics.layer_batch import LayerBatch
    from pytest_unineuron.statistics.scratch import Scratch

N_LARGEST = 10
MERGED_CHUNKS = 4
"""Chunks that are merged into one of the next coarser level."""
SEARCHED_CHUNKS = 100
"""The most chunks of the coarsest level, all of which are searched."""


class ExtremesAccumulator(Accumulator["Extremes"]):
    """The largest values so far and their tokens, [unit, rank] in no order.

    A selection among all tokens would cost more than all other statistics together. So rows are grouped into chunks,
    and chunks into coarser chunks. The largest values lie in the chunks with the largest maxima; only these are
    searched, and only for units of which some chunk exceeds the smallest value held.
    """

    def __init__(self, units: int, device: Any) -> None:
        self._values = torch.full((units, N_LARGEST), float("-inf"), device=device)
        self._tokens = torch.full((units, N_LARGEST), -1, device=device)
        self._maxima: list[Tensor] = []

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """Keep the maxima of the chunks of a tile until the batch is complete."""
        self._maxima.append(_chunks(tile, ROWS_PER_CHUNK).amax(dim=1))

    def finish_batch(self, batch: LayerBatch) -> None:
        """Search the batch, from the coarsest chunks to single tokens."""
        levels = _levels(torch.cat(self._maxima))
        self._maxima.clear()
        units = self._exceeded(levels[-1])
        index = _likely_tokens(levels, units)  # [unit, candidate]
        exists, index = index < len(batch), index.clamp_max(len(batch) - 1)
        values = batch.values.take(batch.rows_of(index) * len(self._values) + units[:, None])
        self._merge(units, values.masked_fill(~exists, float("-inf")), batch.tokens, index)

    def _exceeded(self, maxima: Tensor) -> Tensor:
        """The units that may have a new extreme; on a GPU all of them, since the host would wait for the answer."""
        if maxima.device.type != "cpu":
            return torch.arange(maxima.shape[1], device=maxima.device)
        exceeded: Tensor = (maxima > self._values.amin(dim=1)).any(dim=0).nonzero().flatten()
        return exceeded

    def _merge(self, units: Tensor, values: Tensor, tokens: Tensor, index: Tensor) -> None:
        """Merge candidate values [unit, candidate] of some units; ``tokens[index]`` are their tokens."""
        both = torch.cat([self._values[units].to(values), values], dim=1)
        top, where = both.topk(N_LARGEST, dim=1, sorted=False)
        new = tokens.take(index.gather(1, (where - N_LARGEST).clamp_min(0)))
        old = self._tokens[units].gather(1, where.clamp_max(N_LARGEST - 1))
        self._values = self._values.to(values).index_copy(0, units, top)
        self._tokens = self._tokens.index_copy(0, units, torch.where(where < N_LARGEST, old, new))

    def result(self) -> Extremes:
        """Return the extremes so far."""
        values, order = self._values.sort(dim=1, descending=True)
        tokens = self._tokens.gather(1, order).masked_fill(values == float("-inf"), -1)  # ranks without a value
        return Extremes(values.T.contiguous(), tokens.T.contiguous())


@dataclass(frozen=True, eq=False)
class Extremes(Statistic):
    """The ``N_LARGEST`` largest values of every unit and their tokens, both [rank, unit], largest first.

    ``tokens`` are numbers of tokens in the pass. A rank without a value has value −inf and token −1.
    """

    accumulator = ExtremesAccumulator

    values: Tensor
    tokens: Tensor

    def __add__(self, other: Extremes) -> Extremes:
        """Return the extremes over the tokens of both."""
        both = torch.cat([self.values, other.values.to(self.values)])
        top, where = both.topk(N_LARGEST, dim=0)
        return Extremes(top, torch.cat([self.tokens, other.tokens]).gather(0, where))


def _chunks(values: Tensor, size: int) -> Tensor:
    """Group rows into chunks, [chunk, row, unit]; the last is filled up with −inf."""
    if missing := -len(values) % size:
        values = torch.cat([values, values.new_full((missing, values.shape[1]), float("-inf"))])
    return values.reshape(-1, size, values.shape[1])


def _levels(maxima: Tensor) -> list[Tensor]:
    """From maxima of chunks [chunk, unit], the maxima at every level, from fine to coarse."""
    levels = [maxima]
    while len(levels[-1]) > SEARCHED_CHUNKS:
        chunks = _chunks(levels.pop(), MERGED_CHUNKS)
        levels += [chunks.flatten(0, 1), chunks.amax(dim=1)]
    return levels


def _likely_tokens(levels: list[Tensor], units: Tensor) -> Tensor:
    """The tokens, as indices within the batch, among which the largest values of each unit are, [unit, candidate]."""
    index = torch.arange(len(levels[-1]), device=units.device).expand(len(units), -1)
    sizes = [ROWS_PER_CHUNK, *[MERGED_CHUNKS] * (len(levels) - 1)]
    for size, level in reversed(list(zip(sizes, levels, strict=True))):
        best = level[:, units].T.gather(1, index).topk(min(N_LARGEST, index.shape[1]), dim=1, sorted=False).indices
        first = index.gather(1, best)[..., None] * size
        index = (first + torch.arange(size, device=units.device)).flatten(1)
    return index
