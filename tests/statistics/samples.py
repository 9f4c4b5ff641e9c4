"""Activations for the laws of correlations, and the same correlations by brute force."""

from functools import reduce

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


def sums_of(kind, *units):
    """The co-moments of one batch, of units that are shifted."""
    sums = kind.zeros(*(each.shift for each in units))
    sums.update(*units)
    return sums


def shifts(sums):
    """The shifts of co-moments, by name."""
    return {name: value for name, value in vars(sums).items() if name.startswith("shift")}


def added(one, other):
    """The co-moments of both, as several processes add them: field by field, about the shifts of the first."""
    near = vars(other.about(*shifts(one).values()))
    return type(one)(**{name: value + near[name] for name, value in vars(one).items()} | shifts(one))


def comoments(x, y, cuts=()):
    """The co-moments of two models, of batches cut at these tokens."""
    batches = zip(np.split(x, cuts), np.split(y, cuts), strict=True)
    return reduce(added, (sums_of(CrossComoments, shifted(a), shifted(b)) for a, b in batches))


def best(*blocks, absolute=False):
    """The best matches over the columns of all blocks, which lie side by side."""
    search, offset = BestMatchSearch(len(blocks[0]), absolute=absolute), 0
    for block in blocks:
        search.update(block, offset)
        offset += block.shape[1]
    return search.best()
