"""The activations of one layer in one batch, and the tiles in which they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


class Selection:
    """The rows of a batch that enter a statistic, those marked in ``mask`` [row].

    ``numbers`` and ``labels`` are the number and the label of the token of every row, [row]. All three are on the CPU,
    so that no GPU is waited for; activations lie on ``device``.
    """

    def __init__(self, mask: Tensor, numbers: Tensor, labels: Tensor, device: Any) -> None:
        rows = mask.nonzero().flatten()
        self._size = len(rows)
        self._rows = rows.to(device) if len(rows) < len(mask) else None
        self._mask, self._every_number, self._every_label = (each.to(device) for each in (mask, numbers, labels))
        self._numbers = numbers[rows].to(device)
        self._labels = labels[rows].to(device) if bool((labels[rows] >= 0).any()) else None

    def __len__(self) -> int:
        """The number of selected rows."""
        return self._size

    def layer_batch(self, values: Tensor, tokens: Tensor | None) -> LayerBatch:
        """Return the selected activations of one layer; ``tokens`` are the rows that an expert was given, or None."""
        if tokens is None:
            return LayerBatch(values, self._numbers, self._labels, self._rows)
        tokens = tokens.to(self._mask.device)
        rows = self._mask[tokens].nonzero().flatten()
        return LayerBatch(values, self._every_number[tokens[rows]], self._every_label[tokens[rows]], rows)
