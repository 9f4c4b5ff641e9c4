"""Memory for intermediate results that is reused from tile to tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Scratch:
    """A pool of uninitialised tensors, one block of memory for each slot, dtype and device.

    Fresh memory for every tile would cost more than the computation that fills it.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def empty_like(self, tile: Tensor, slot: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return a tensor of the shape of ``tile``; the next call for the same ``slot`` overwrites it."""
        key, size = (slot, dtype or tile.dtype, tile.device), tile.numel()
        if key not in self._memory or len(self._memory[key]) < size:
            with torch.inference_mode(False):  # a tensor made in inference mode cannot be written outside of it
                self._memory[key] = torch.empty(size, dtype=key[1], device=tile.device)
        return self._memory[key][:size].view(tile.shape)
