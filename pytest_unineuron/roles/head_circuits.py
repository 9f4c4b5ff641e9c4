"""The query-key circuits of attention heads: how large they are, and how many directions they compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.weights.heads import folded, require_heads, require_plain_queries, weight_of
from pytest_unineuron.statistics.heads import circuit_rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pytest_unineuron.models.discovery.attention import HeadPart
    from pytest_unineuron.models.weights.weight_view import WeightView


def circuit_ranks(view: WeightView) -> Tensor:
    """Return the stable rank of W_QK of every head as a share of its dimension, [head] float64; see ``circuit_rank``.

    Raises NotApplicable without heads, where the norm in front of one cannot be folded, and for queries and keys with
    norms of their own.
    """
    heads = require_heads(view)
    require_plain_queries(*heads)
    pairs = ((folded(view, head.query), folded(view, head.key)) for head in heads)
    return torch.tensor([circuit_rank(query, key) for query, key in pairs], dtype=torch.float64)


def query_key_norms(view: WeightView) -> Tensor:
    """Return ‖W_Q‖ and ‖W_K‖ of every head as they are stored, [head, 2] float64. Raises NotApplicable."""
    return _norms(view, weight_of)


def folded_query_key_norms(view: WeightView) -> Tensor:
    """Return the same with the norm in front folded in, [head, 2] float64.

    Raises NotApplicable as ``circuit_ranks``.
    """
    require_plain_queries(*require_heads(view))
    return _norms(view, folded)


def _norms(view: WeightView, weight: Callable[[WeightView, HeadPart], Tensor]) -> Tensor:
    norms = [[weight(view, part).norm() for part in (head.query, head.key)] for head in require_heads(view)]
    return torch.tensor(norms, dtype=torch.float64)
