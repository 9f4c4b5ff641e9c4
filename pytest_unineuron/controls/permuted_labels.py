"""N6: the same labels on other neurons. If they say something about the neurons, these are not so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def permuted_labels(layer: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Whose label every neuron gets, [neuron]: that of a neuron of the same ``layer`` [neuron], drawn by ``seed``."""
    random, order = np.random.default_rng(seed), np.arange(len(layer))
    for number in np.unique(layer):
        (own,) = np.nonzero(layer == number)
        order[own] = random.permutation(own)
    return order
