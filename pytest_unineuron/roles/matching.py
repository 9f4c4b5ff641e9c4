"""Sets of neurons that are like others in everything but what is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHOICES = 3
"""Each neuron gets one of its so many nearest neighbours that are left."""


def matched(
    marked: NDArray[np.bool_], layer: NDArray[np.int64], *values: NDArray[np.float64], seed: int = 0
) -> NDArray[np.bool_]:
    """Return as many other neurons of each layer, close to the marked ones in the ranks of some values; [neuron].

    ``marked``, ``layer`` and each of ``values`` are [neuron]. Pairs are drawn one after the other, without replacement,
    among the nearest neurons that are left. In a layer with too few others, all of them are returned.
    """
    random = np.random.default_rng(seed)
    found = np.zeros(len(marked), dtype=bool)
    for number in np.unique(layer[marked]):
        here = np.flatnonzero(layer == number)
        ranks = np.stack([stats.rankdata(np.nan_to_num(value[here])) for value in values])  # [value, neuron]
        free = ~marked[here]
        for unit in random.permutation(np.flatnonzero(marked[here])):
            if not free.any():
                break
            distance = np.where(free, np.square(ranks - ranks[:, [unit]]).sum(axis=0), np.inf)
            nearest = np.argsort(distance, kind="stable")[: min(CHOICES, int(free.sum()))]
            chosen = random.choice(nearest)
            free[chosen] = False
            found[here[chosen]] = True
    return found


def as_many(
    marked: NDArray[np.bool_], others: NDArray[np.bool_], layer: NDArray[np.int64], seed: int = 0
) -> NDArray[np.bool_]:
    """Return the marked neurons, of each layer at most as many as there are others, drawn at random; all [neuron].

    More than half of a layer have fewer others than they are.
    """
    random = np.random.default_rng(seed)
    kept = marked.copy()
    for number in np.unique(layer[marked]):
        here = np.flatnonzero(marked & (layer == number))
        most = int(np.sum(others & (layer == number)))
        kept[random.permutation(here)[most:]] = False
    return kept


def dealt(marked: NDArray[np.bool_], parts: int) -> NDArray[np.bool_]:
    """Deal the marked neurons [neuron] out in turn, so that every part has as many of each layer; [part, neuron]."""
    turn = (np.cumsum(marked) - 1) % parts
    found: NDArray[np.bool_] = marked & (turn == np.arange(parts)[:, None])
    return found


def by_layer(marked: NDArray[np.bool_], layer: NDArray[np.int64]) -> dict[int, list[int]]:
    """Return the numbers within their layer of the marked neurons, for each layer that has some."""
    return {int(number): np.flatnonzero(marked[layer == number]).tolist() for number in np.unique(layer[marked])}
