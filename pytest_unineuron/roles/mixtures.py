"""Random mixtures of the vectors of a layer: the null of what single neurons write or read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.roles.composition import unit_rows

if TYPE_CHECKING:
    from torch import Tensor


def mixtures(vectors: Tensor, count: int, seed: int) -> Tensor:
    """Return so many sums of the vectors [unit, width], at length 1, by Normal weights: [mixture, width] at length 1.

    What all neurons of a layer write, mixtures of them write too, such as the direction of frequent tokens, which
    models learn even from text in random order. A neuron is beyond them only by what it has of its own.
    """
    weights = torch.randn(count, len(vectors), generator=torch.Generator().manual_seed(seed))
    return unit_rows(weights.to(vectors) @ unit_rows(vectors))
