"""The basis of the token embedding: do its dimensions differ in their tails more than those of other bases?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.statistics.basis import column_kurtosis, exchanges, kurtosis_deviation, rotations, some_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView

MOST_TOKENS = 16_384
"""Tokens of a larger vocabulary are drawn."""


def tail_deviations(view: WeightView, draws: int) -> tuple[float, list[float], list[float]]:
    """Return how much embedding dimensions differ in their tails, and so much of its nulls, [draw] each.

    It is ``kurtosis_deviation`` of the embedding; then of as many random bases of its space (Elhage et al. 2023), and
    of the embedding with the entries of each row exchanged.
    """
    embedding = some_rows(_embedding(view), MOST_TOKENS)
    bases, exchanged = (
        [kurtosis_deviation(null) for null in made(embedding, draws)] for made in (rotations, exchanges)
    )
    return kurtosis_deviation(embedding), bases, exchanged


def dimension_kurtosis(view: WeightView) -> Tensor:
    """Return the kurtosis of every dimension of the embedding over the vocabulary, [dimension] float64."""
    return torch.from_numpy(column_kurtosis(_embedding(view)))


def embedded(view: WeightView, ids: Tensor) -> Tensor:
    """Return the embeddings of the tokens ``ids`` [token], [token, dimension] float64."""
    return view.embedding[ids.to(view.embedding.device)].double()


def _embedding(view: WeightView) -> NDArray[np.float64]:
    found: NDArray[np.float64] = view.embedding.double().cpu().numpy()
    return found
