"""The activations of one layer in one batch, and the tiles in which they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_unineuron.statistics.scratch import Scratch

ROWS_PER_CHUNK = 8
"""Every tile but the last of a batch has a multiple of this many rows."""
CPU_TILE_SIZE = 2**19
"""Numbers in a tile on a CPU: two megabytes in float32, which stay in the cache of the processor."""
GPU_TILE_SIZE = 2**26
"""Numbers in a tile elsewhere, where starting a computation costs more than its memory traffic."""


@dataclass(frozen=True, eq=False)
class LayerBatch:
    """The activations of one layer in one batch, of which only the rows of text tokens enter a statistic.

    ``values`` [row, unit] is the tensor that the model made; it is never copied as a whole. ``text_rows`` are the
    numbers of the rows of text tokens in order, [token]; None means all rows. ``tokens`` are the numbers of these
    tokens in the pass and ``labels`` their labels, both [token]; ``labels`` is None where no token has one.
    """

    values: Tensor
    tokens: Tensor
    labels: Tensor | None
    text_rows: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "labels", "text_rows"):  # the layers of a large model may lie on several devices
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, given.to(self.values.device))

    def __len__(self) -> int:
        """The number of text tokens."""
        return len(self.values if self.text_rows is None else self.text_rows)

    def rows_of(self, tokens: Tensor) -> Tensor:
        """Return the rows in ``values``, [token], of text tokens, given as indices [token] from 0 within the batch."""
        return tokens if self.text_rows is None else self.text_rows.take(tokens)

    def tiles(self, scratch: Scratch) -> Iterator[Tensor]:
        """Yield the rows of text tokens in order, a tile [token, unit] at a time. A tile may lie in ``scratch``."""
        units = self.values.shape[1]
        size = CPU_TILE_SIZE if self.values.device.type == "cpu" else GPU_TILE_SIZE
        rows = max(1, size // units // ROWS_PER_CHUNK) * ROWS_PER_CHUNK
        for start in range(0, len(self), rows):
            if self.text_rows is None:
                yield self.values[start : start + rows]
                continue
            part = self.text_rows[start : start + rows]
            out = scratch.empty_like(part[:, None].expand(-1, units), "tile", self.values.dtype)
            yield torch.index_select(self.values, 0, part, out=out)
