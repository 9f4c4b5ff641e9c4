"""N6: the labels of neurons are permuted within layers, so that they say nothing about the neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def permuted_labels(layer: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the neuron whose label each neuron gets, [neuron], drawn from the same layer; ``layer`` is [neuron]."""
    random, order = np.random.default_rng(seed), np.arange(len(layer))
    for number in np.unique(layer):
        (members,) = np.nonzero(layer == number)
        order[members] = random.permutation(members)
    return order
