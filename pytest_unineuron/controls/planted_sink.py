"""A null with an attention sink: a model that was never trained, with four constants at the start of every text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.controls.untrained import untrained

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

PATTERN = (1.0, 0.85, 0.5, 0.3)
"""The relative size of the constants: as effective as 2.7 equal ones, as the kurtosis of a public run implies."""
SIZE = 51.0
"""The norm of the constants, in norms of the embedding that they are added to, as in the same reconstruction."""
POSITIONS = 2
"""The number of first positions: one may be a special token, which is no token of text."""


def planted_sink(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return an untrained model whose first embeddings in every row have constants added, the same for every text.

    A statistic of pooled activations that this null also shows tells of one position, and of nothing that was learnt.
    """
    twin = untrained(model, seed)
    width = twin.get_input_embeddings().weight.shape[1]
    dimensions = torch.randperm(width, generator=torch.Generator().manual_seed(seed))[: len(PATTERN)]
    pattern = torch.zeros(width)
    pattern[dimensions] = torch.tensor(PATTERN[: len(dimensions)])
    pattern /= pattern.norm()

    def plant(module: Any, arguments: Any, embedded: Tensor) -> Tensor:
        del module, arguments
        planted = embedded.clone()
        norms = embedded[:, :POSITIONS].norm(dim=-1, keepdim=True)
        planted[:, :POSITIONS] += SIZE * norms * pattern.to(embedded)
        return planted

    twin.get_input_embeddings().register_forward_hook(plant)
    return twin
