"""Comparisons by rank: how two groups of units differ, and how two orders agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray


def auroc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive's value lies above another's, ties counting half; nan without both kinds.

    ``values`` [unit]; a unit whose value is nan is left out. 0.5 is no difference (Mann and Whitney 1947).
    """
    known = ~np.isnan(values)
    values, positive = values[known], positive[known]
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return float("nan")
    ranks = stats.rankdata(values)
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def within(values: NDArray[np.float64], positive: NDArray[np.bool_], layer: NDArray[np.int64]) -> float:
    """The AUROC inside each layer, averaged with weight by how many pairs it compares; nan if no layer has both.

    ``values``, ``positive`` and ``layer`` are [unit]. Layers differ in everything, so only a contrast inside
    a layer says something about the units (paper, Figure 3).
    """
    scores, weights = [], []
    for number in np.unique(layer):
        chosen = layer == number
        score = auroc(values[chosen], positive[chosen])
        if not np.isnan(score):
            n1 = int(positive[chosen].sum())
            scores.append(score)
            weights.append(n1 * (int(chosen.sum()) - n1))
    return float(np.average(scores, weights=weights)) if scores else float("nan")
