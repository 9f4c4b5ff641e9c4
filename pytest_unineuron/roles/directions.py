"""Directions of any dictionary, such as what the features of an autoencoder write: their vocabulary composition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.weights.weight_view import centred
from pytest_unineuron.roles.composition import cosine_moments, random_kurtosis, ranks

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView


def direction_kurtosis(view: WeightView, directions: Tensor) -> Tensor:
    """Return the kurtosis over the vocabulary of directions of the stream, and its rank, [2, direction] float64.

    ``directions`` is [direction, width]. The rank is the share of random directions with a smaller kurtosis. Both are
    as for neurons (Gurnee et al. 2024, section 5.1). Raises NotApplicable for a model without an unembedding behind its
    last norm.
    """
    written = directions.to(view.unembedding)
    if view.final_norm_centres:
        written = centred(written)
    kurtosis = cosine_moments(written, view.unembedding).kurtosis
    return torch.stack([kurtosis, ranks(kurtosis, random_kurtosis(view))]).cpu()
