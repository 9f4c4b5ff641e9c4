"""How many directions the query-key circuits of attention heads compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.weights.heads import folded
from pytest_unineuron.statistics.heads import circuit_rank

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView


def circuit_ranks(view: WeightView) -> Tensor:
    """Return the stable rank of W_QK of every head as a share of its dimension, [head] float64; see ``circuit_rank``.

    Raises NotApplicable where the norm in front of a head cannot be folded.
    """
    pairs = ((folded(view, head.query), folded(view, head.key)) for head in view.anatomy.heads)
    return torch.tensor([circuit_rank(query, key) for query, key in pairs], dtype=torch.float64)
