"""Comparisons by rank: how two groups of units differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron.statistics.resampling import Estimate, jackknife

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def auroc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive unit has a larger value than another, ties counting half.

    ``values`` and ``positive`` are [unit]; units with value nan are left out. 0.5 means no difference, and nan that one
    of the two groups is empty (Mann and Whitney 1947). ``positive`` may also be 0 and 1; raises ValueError for others.
    """
    values, positive = as_values(values), as_marks(positive)
    known = ~np.isnan(values)
    chosen, others = np.sort(values[known & positive]), np.sort(values[known & ~positive])
    if not len(chosen) or not len(others):
        return float("nan")
    smaller = np.searchsorted(others, chosen, "left") + np.searchsorted(others, chosen, "right")  # each counted twice
    return float(smaller.sum() / 2 / (len(chosen) * len(others)))


def within(values: NDArray[np.float64], positive: NDArray[np.bool_], layer: NDArray[np.int64]) -> float:
    """Return the mean AUROC within layers, weighted by the number of pairs in each; nan if no layer has both groups.

    ``values``, ``positive`` and ``layer`` are [unit]. Layers differ in most statistics, so only a contrast within
    layers is about the units (Gurnee et al. 2024, figure 3).
    """
    values, positive, scores, weights = as_values(values), as_marks(positive), [], []
    for number in np.unique(layer):
        chosen = (layer == number) & ~np.isnan(values)
        score = auroc(values[chosen], positive[chosen])
        if not np.isnan(score):
            n1 = int(positive[chosen].sum())
            scores.append(score)
            weights.append(n1 * (int(chosen.sum()) - n1))
    return float(np.average(scores, weights=weights)) if scores else float("nan")


def contrast(values: Callable[[Any], NDArray[np.float64]], positive: NDArray[np.bool_], units: Any) -> Estimate:
    """Return the AUROC within layers of the selected units against the rest, with a jackknife interval.

    ``units`` is a Sample with a ``layer`` [unit], such as the neurons of a model on a corpus. ``values`` computes
    [unit] from it, whether whole or without a group; ``positive`` [unit] marks the selected units (Gurnee et al. 2024,
    figure 3).
    """
    return jackknife(lambda sample: within(values(sample), positive, sample.layer), units, limits=(0, 1))


def as_values(values: Any) -> NDArray[np.float64]:
    """Return numbers, an array or a tensor of any shape, as float64; those that numpy masks are nan."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    found: NDArray[np.float64] = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    return found


def as_marks(marked: Any) -> NDArray[np.bool_]:
    """Return which units are marked, [unit], from bools or from 0 and 1. Raises ValueError for anything else."""
    given = np.asarray(marked)
    found: NDArray[np.bool_] = given.astype(bool)
    if not np.array_equal(found, given):
        raise ValueError("units are marked by True and False, or by 1 and 0; their numbers do not mark them")
    return found
