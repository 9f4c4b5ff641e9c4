"""Where the unembedding hardly looks: entropy neurons write there, and act through the scale of the final norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_unineuron.roles.composition import by_neuron

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView

NULL_SHARE = 0.05
"""The share of the width that counts as null space: Stolfo et al. (2024) take 40 of 768 dimensions."""
TOKENS_AT_ONCE = 2**14
"""Rows of the unembedding that are float64 at a time."""


def null_space_fractions(view: WeightView) -> Tensor:
    """Return ‖U_kᵀ ŵ_out‖ / ‖ŵ_out‖ of every neuron, [neuron] float64: how much of it no token reads, from 0 to 1.

    U_k are the k directions that Ŵ_U reads least, with k a twentieth of the width (Stolfo et al. 2024). A random
    direction has √0.05 = 0.22. It is nan for a neuron that writes nothing, or elsewhere. Raises NotApplicable for a
    model without an unembedding behind its last norm.
    """
    null = null_space(gram(view.unembedding), view.final_norm_centres)
    return by_neuron(view, lambda write: fractions(write, null))


def random_shares(view: WeightView, directions: int, draws: int) -> NDArray[np.float64]:
    """Return the squares of these fractions for random directions of the stream, [draw, direction].

    They have a beta distribution, whatever the null space is. Raises NotApplicable as ``null_space_fractions``.
    """
    width = view.unembedding.shape[1]
    null = null_size(width)
    rest = width - null - view.final_norm_centres
    return np.random.default_rng(5).beta(null / 2, rest / 2, size=(draws, directions))


def null_size(width: int) -> int:
    """Return how many directions of a stream are null space."""
    return max(1, round(NULL_SHARE * width))


def fractions(write: Tensor, null: Tensor) -> Tensor:
    """Return the share of the length of ``write`` [neuron, width] along ``null`` [width, direction], [neuron]."""
    write = write.double()
    found: Tensor = (write @ null.to(write.device)).norm(dim=1) / write.norm(dim=1)
    return found


def gram(unembedding: Tensor) -> Tensor:
    """Return Ŵ_Uᵀ Ŵ_U, [width, width] float64, of an unembedding [token, width]."""
    width = unembedding.shape[1]
    total = torch.zeros(width, width, dtype=torch.float64, device=unembedding.device)
    for block in unembedding.split(TOKENS_AT_ONCE):
        total.addmm_(block.double().T, block.double())
    return total


def null_space(of_gram: Tensor, centred: bool) -> Tensor:
    """Return the directions that the unembedding reads least, [width, direction], from its Gram matrix.

    A norm that centres removes the constant direction from everything, so that is none of them if ``centred``.
    """
    width = len(of_gram)
    if centred:  # as its largest eigenvalue, the constant direction comes last
        of_gram = of_gram + 2 * of_gram.trace().clamp_min(1e-30) / width
    vectors: Tensor = torch.linalg.eigh(of_gram).eigenvectors
    return vectors[:, : null_size(width)]
