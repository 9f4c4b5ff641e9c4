"""Statistics of the weights of an attention head that do not depend on the basis of its queries and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def circuit_rank(query: Tensor, key: Tensor) -> float:
    """Return the stable rank of W_QK = W_Qᵀ W_K as a share of the dimension of the head, in (0, 1]; nan for zeros.

    ``query`` W_Q and ``key`` W_K are [dimension of the head, width]. The stable rank ‖W‖²_F / ‖W‖²₂ is the number of
    directions that the head effectively compares. W_Q can be multiplied by any invertible matrix, and W_K by the
    inverse of its transpose, without changing the head; this changes the norms of both, but not W_QK, the QK circuit of
    Elhage et al. (2021). Rotary positions are left out: this is the circuit at distance zero.
    """
    # W_Qᵀ = A R and W_Kᵀ = B S with orthonormal A and B, so R Sᵀ has the singular values of W_QK and is small.
    r = torch.linalg.qr(query.double().T).R
    s = torch.linalg.qr(key.double().T).R
    values = torch.linalg.svdvals(r @ s.T)
    return float(values.square().sum() / values[0].square() / len(values)) if values[0] > 0 else float("nan")
