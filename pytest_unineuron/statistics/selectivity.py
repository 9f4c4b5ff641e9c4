"""Which units tell two classes of words apart, found on some words and confirmed on others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.05
"""False discovery rate among the units that are called selective on the first half."""
AUROC, EFFECT = 0.9, 0.8
"""What a unit must still show on the second half: separation, and a standardised mean difference."""


@dataclass(frozen=True)
class Split:
    """Words dealt into a half to discover on and a half to confirm on, [word] each; no token is in both."""

    first: NDArray[np.bool_]
    second: NDArray[np.bool_]

    def smallest(self, positive: NDArray[np.bool_]) -> int:
        """The fewest words of either class in either half."""
        return int(min((half & kind).sum() for half in (self.first, self.second) for kind in (positive, ~positive)))


def split(positive: NDArray[np.bool_], token: NDArray[np.int64], seed: int) -> Split:
    """A random split in which words that are read at the same token stay together.

    ``positive`` and ``token`` are [word]. Tokens are dealt in random order, each to the half that has fewer
    of its words so far, for both classes together; of many such deals the most even one is kept.
    """
    random = np.random.default_rng(seed)
    tokens, of_token = np.unique(token, return_inverse=True)
    size = np.stack([np.bincount(of_token, positive == kind) for kind in (True, False)])  # [class, token]
    best: Split | None = None
    for _ in range(50):
        held = np.zeros((2, 2))  # [half, class]
        half = np.zeros(len(tokens), dtype=int)
        for index in random.permutation(len(tokens)):
            uneven = [np.abs(held + np.eye(2)[[h]].T * size[:, index] - held[::-1]).sum() for h in (0, 1)]
            half[index] = int(uneven[1] < uneven[0]) if uneven[0] != uneven[1] else int(random.integers(2))
            held[half[index]] += size[:, index]
        deal = Split(half[of_token] == 0, half[of_token] == 1)
        if best is None or deal.smallest(positive) > best.smallest(positive):
            best = deal
    assert best is not None
    return best


def separation(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """AUROC and two-sided Mann–Whitney p of every unit: ``values`` [word, unit], ``positive`` [word].

    The words are the observations. Normal approximation with ties and continuity corrected (scipy).
    """
    n1, n0 = int(positive.sum()), int((~positive).sum())
    test = stats.mannwhitneyu(values[positive], values[~positive], axis=0, method="asymptotic")
    return np.asarray(test.statistic) / (n1 * n0), np.asarray(test.pvalue)


def confirmed(means: NDArray[np.float64], positive: NDArray[np.bool_], halves: Split) -> NDArray[np.bool_]:
    """Which units are selective on both halves, [unit].

    ``means`` is [sentence set, word, unit]; the first half of the words is read in the first set of
    sentences, the second half in the second. Discovery: Mann–Whitney over word types, Benjamini–Hochberg at
    ``LEVEL`` over all units. Confirmation: the same sign, AUROC of at least ``AUROC`` (or at most one minus
    it) and a standardised difference of at least ``EFFECT``.
    """
    first, second = means[0][halves.first], means[1][halves.second]
    of_first, of_second = positive[halves.first], positive[halves.second]
    found, p = separation(first, of_first)
    p = np.where(np.ptp(first, axis=0) > 0, p, 1.0)  # a unit that answers alike to every word tells nothing apart
    discovered = stats.false_discovery_control(p) < LEVEL
    again, _ = separation(second, of_second)
    a, b = second[of_second], second[~of_second]
    spread = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 2)
    effect = np.divide(a.mean(axis=0) - b.mean(axis=0), spread, out=np.zeros(means.shape[-1]), where=spread > 0)
    sign = np.sign(found - 0.5)
    holds = (sign * (again - 0.5) >= AUROC - 0.5) & (sign * effect >= EFFECT)
    return np.asarray(discovered & holds)
