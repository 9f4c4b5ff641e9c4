"""The rows of a batch that count, cut into tiles that stay in the processor's cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from pytest_unineuron.statistics.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch import Tensor

    from pytest_unineuron.statistics import Accumulator

T = TypeVar("T")

CHUNK = 8
"""Every tile but the last has a multiple of this many rows."""
TILE = {"cpu": 2**19}
"""About how many numbers a tile has, two megabytes in float32; elsewhere, where it is calls that cost,"""
LARGE = 2**26


@dataclass(frozen=True, eq=False)
class LayerBatch:
    """The units of one layer in one batch: ``values`` [row, unit] as the model made them, never copied as a whole.

    ``which`` are the numbers of the rows that count, in order; None where all do. ``tokens`` and ``labels`` are those
    of the rows that count, [token]; ``labels`` is None where no token has one.
    """

    values: Tensor
    tokens: Tensor
    labels: Tensor | None
    which: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "labels", "which"):  # the layers of a large model may lie on several devices
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, given.to(self.values.device))

    def __len__(self) -> int:
        return len(self.values if self.which is None else self.which)

    def at(self, numbers: Tensor) -> Tensor:
        """The number in ``values`` of the n-th row that counts."""
        return numbers if self.which is None else self.which.take(numbers)

    def tiles(self, scratch: Scratch) -> Iterator[Tensor]:
        """The rows that count, in order, [token, unit]."""
        numbers = TILE.get(self.values.device.type, LARGE)
        size = max(1, numbers // self.values.shape[1] // CHUNK) * CHUNK
        for start in range(0, len(self), size):
            if self.which is None:
                yield self.values[start : start + size]
                continue
            part = self.which[start : start + size]
            room = scratch.like(part[:, None].expand(-1, self.values.shape[1]), "tile", self.values.dtype)
            yield torch.index_select(self.values, 0, part, out=room)


def accumulate(rows: LayerBatch, sums: Collection[Accumulator[object]], scratch: Scratch) -> None:
    """Adds the rows to every one of the sums, tile by tile, so that a tile is read from memory once for all of them."""
    for tile in rows.tiles(scratch):
        for accumulator in sums:
            accumulator.update(tile, scratch)
    if len(rows):
        for accumulator in sums:
            accumulator.finish_batch(rows)


def gathered(running: Accumulator[T], values: Tensor, tokens: Tensor, labels: Tensor) -> T:
    """The sum of one batch, [token, unit], all of whose rows count."""
    accumulate(LayerBatch(values.detach(), tokens, labels), [running], Scratch())
    return running.result()
