"""Activations for the laws of correlations, and the same correlations by brute force."""

import numpy as np
import torch

from pytest_unineuron.statistics.correlation import BestMatchSearch, CrossComoments, ShiftedUnits


def sample(tokens, units, seed=0):
    """Sparse, skewed, correlated activations, [token, unit]."""
    random = np.random.default_rng(seed)
    return (random.exponential(size=(tokens, units)) ** 2 @ (np.eye(units) + 0.2)).astype(np.float32)


def brute_force(x, y):
    """ρ of every pair of columns in float64, [unit of x, unit of y]."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(all="ignore"):
        a, b = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
    return a.T @ b / len(x)


def shifted(units, shift=None):
    return ShiftedUnits.of(torch.tensor(units), shift)


def comoments(x, y, cuts=()):
    """The co-moments of two models, of batches cut at these tokens."""
    batches = zip(np.split(x, cuts), np.split(y, cuts), strict=True)
    parts = [CrossComoments.of(shifted(a), shifted(b)) for a, b in batches]
    return sum(parts[1:], parts[0])


def best(*blocks, absolute=False):
    """The best matches over the columns of all blocks, which lie side by side."""
    search, offset = BestMatchSearch(len(blocks[0]), absolute=absolute), 0
    for block in blocks:
        search.update(block, offset)
        offset += block.shape[1]
    return search.best()
