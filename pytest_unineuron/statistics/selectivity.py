"""Units that distinguish two classes of words, discovered on some words and confirmed on others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.05
"""False discovery rate among the units discovered on the first half."""
AUROC, EFFECT = 0.9, 0.8
"""The AUROC and the standardised mean difference that a unit must have on the second half."""


@dataclass(frozen=True)
class Split:
    """Masks [word] of the half of the words for discovery and the half for confirmation; no token is in both."""

    first: NDArray[np.bool_]
    second: NDArray[np.bool_]

    def smallest(self, positive: NDArray[np.bool_]) -> int:
        """Return the smallest number of words of a class in a half; ``positive`` [word] is one of the classes."""
        return int(min((half & kind).sum() for half in (self.first, self.second) for kind in (positive, ~positive)))


def split(positive: NDArray[np.bool_], token: NDArray[np.int64], seed: int) -> Split:
    """Return a random split in which words that are read at the same token stay together.

    ``positive`` and ``token`` are [word]. Tokens are dealt in random order, each to the half where it makes the numbers
    of words of both classes most even. Of fifty such splits the one with the largest ``smallest`` class is returned.
    """
    random = np.random.default_rng(seed)
    _, of_token = np.unique(token, return_inverse=True)
    size = np.stack([np.bincount(of_token, positive == kind) for kind in (True, False)])  # [class, token]
    halves = (_deal(size, random)[of_token] for _ in range(50))
    return max((Split(half == 0, half == 1) for half in halves), key=lambda found: found.smallest(positive))


def _deal(size: NDArray[Any], random: np.random.Generator) -> NDArray[np.int64]:
    """Deal tokens into two halves, [token] of 0 and 1; ``size`` [class, token] is the number of words at each token."""
    ahead, others_ahead = 0, 0  # words of each class that the first half has beyond the second
    half = np.zeros(size.shape[1], dtype=int)
    sizes = size.T.tolist()
    for token in random.permutation(size.shape[1]):
        words, others = sizes[token]
        uneven = [abs(ahead + sign * words) + abs(others_ahead + sign * others) for sign in (1, -1)]
        half[token] = int(uneven[1] < uneven[0]) if uneven[0] != uneven[1] else int(random.integers(2))
        sign = -1 if half[token] else 1
        ahead, others_ahead = ahead + sign * words, others_ahead + sign * others
    return half


def separation(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """Return the AUROC and the two-sided Mann–Whitney p-value of every unit, [unit] each.

    ``values`` is [word, unit] and ``positive`` [word]; the words are the observations. The p-value is the normal
    approximation of scipy, corrected for ties and continuity.
    """
    n1, n0 = int(positive.sum()), int((~positive).sum())
    by_unit = [np.ascontiguousarray(values[kind].T) for kind in (positive, ~positive)]  # sorted faster than columns
    test = stats.mannwhitneyu(*by_unit, axis=1, method="asymptotic")
    return np.asarray(test.statistic) / (n1 * n0), np.asarray(test.pvalue)


def confirmed(means: NDArray[np.float64], positive: NDArray[np.bool_], halves: Split) -> NDArray[np.bool_]:
    """Return which units are selective on both halves, [unit].

    ``means`` is [sentence set, word, unit]: the first half of the words is read in the first set of sentences, the
    second half in the second. Discovery takes a Mann–Whitney test over word types, at a false discovery rate of
    ``LEVEL`` over all units (Benjamini and Hochberg 1995). Confirmation takes the same sign, an AUROC of at least
    ``AUROC`` (or at most one minus it), and a standardised difference of at least ``EFFECT``.
    """
    first, second = means[0][halves.first], means[1][halves.second]
    auroc, p = separation(first, positive[halves.first])
    p = np.where(np.ptp(first, axis=0) > 0, p, 1.0)  # a unit with one value for all words is not selective
    found = stats.false_discovery_control(p) < LEVEL
    if found.any():
        sign, second = np.sign(auroc[found] - 0.5), second[:, found]
        confirming, _ = separation(second, positive[halves.second])
        effect = _standardised_difference(second, positive[halves.second])
        found[found] = (sign * (confirming - 0.5) >= AUROC - 0.5) & (sign * effect >= EFFECT)
    return np.asarray(found)


def _standardised_difference(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The difference of class means over the pooled standard deviation, [unit]; 0 for a constant unit."""
    a, b = values[positive], values[~positive]
    spread = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 2)
    difference = a.mean(axis=0) - b.mean(axis=0)
    return np.asarray(np.divide(difference, spread, out=np.zeros(values.shape[-1]), where=spread > 0))
