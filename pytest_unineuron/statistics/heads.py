"""What can be said of an attention head's weights without choosing a basis for its queries and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def circuit_rank(query: Tensor, key: Tensor) -> float:
    """The stable rank of W_QK = W_Qᵀ W_K, as a share of the head's dimension: (0, 1].

    ``query`` and ``key`` are [dimension of the head, width]. Stable rank is ‖W‖²_F / ‖W‖²₂: how many
    directions a head really compares. W_Q alone can be multiplied by any invertible matrix and W_K by the
    inverse of its transpose without changing what the head does, so norms of either mean nothing; W_QK does
    not change. Rotary positions are left out: this is the circuit at distance zero.
    """
    # Singular values of W_Qᵀ W_K from small matrices: W_Qᵀ = A R and W_Kᵀ = B S with orthonormal A and B.
    r = torch.linalg.qr(query.double().T).R
    s = torch.linalg.qr(key.double().T).R
    values = torch.linalg.svdvals(r @ s.T)
    return float(values.square().sum() / values[0].square() / len(values)) if values[0] > 0 else float("nan")
