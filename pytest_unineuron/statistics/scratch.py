"""Memory that is written again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Scratch:
    """Tensors with anything in them, the same memory every time.

    To ask the system for a megabyte of fresh memory, tile after tile, costs more than to compute what fills it.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def like(self, tile: Tensor, slot: str, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor of the shape of ``tile``; whoever asks for the same ``slot`` later overwrites it."""
        key, size = (slot, dtype or tile.dtype, tile.device), tile.numel()
        if key not in self._memory or len(self._memory[key]) < size:
            with torch.inference_mode(False):  # made there, it could not be written elsewhere
                self._memory[key] = torch.empty(size, dtype=key[1], device=tile.device)
        return self._memory[key][:size].view(tile.shape)
