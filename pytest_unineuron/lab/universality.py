"""Universality as a trial sees it: for every unit, how well it is matched in other seeds beyond a random basis."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.universality.kinds import DIMENSIONS, HEADS, NEURONS, VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_unineuron.universality.match import Matches

UNIVERSAL = 0.5
"""The paper's threshold on the excess correlation (which it calls unprincipled itself)."""
UNIVERSAL_IN_SMALL_MODELS, SMALL_MODEL = 0.4, 100e6
"""The threshold in models with fewer parameters than this, whose largest ϱ barely reach the paper's."""


def universality_threshold(parameters: int) -> float:
    """The excess correlation above which a unit of a model with so many parameters is universal."""
    return UNIVERSAL if parameters >= SMALL_MODEL else UNIVERSAL_IN_SMALL_MODELS


class Matched:
    """The units of one kind, matched in every further seed of the model.

    Correlations are read on document groups in which nothing was chosen. Arrays are [unit] or [seed, unit],
    float64; a unit that never varied is nan. A sample of document groups: ``without(group)`` is the same
    matches read without one of them. A unit is universal above ``threshold``. ``order``, [unit], gives every
    unit the matches of another one, as the control does that permutes labels.
    """

    def __init__(
        self,
        matches: Sequence[Matches],
        groups: Sequence[int] | None = None,
        *,
        threshold: float = UNIVERSAL,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        self._matches = list(matches)
        self._groups = list(range(len(matches[0].pairs))) if groups is None else list(groups)
        self._order = np.arange(len(matches[0].layer)) if order is None else order
        self.threshold = threshold

    @property
    def groups(self) -> int:
        """How many document groups are read."""
        return len(self._groups)

    def without(self, group: int) -> Matched:
        """The same matches, read without one group."""
        return self.among([g for i, g in enumerate(self._groups) if i != group])

    def among(self, groups: Sequence[int]) -> Matched:
        """The same matches, read on these groups only."""
        return Matched(self._matches, groups, threshold=self.threshold, order=self._order)

    def in_seeds(self, seeds: Sequence[int]) -> Matched:
        """The matches in some of the seeds only, by number."""
        matches = [self._matches[seed] for seed in seeds]
        return Matched(matches, self._groups, threshold=self.threshold, order=self._order)

    def permuted(self, order: NDArray[np.int64]) -> Matched:
        """The same, where every unit has the matches of another one, [unit]."""
        return Matched(self._matches, self._groups, threshold=self.threshold, order=self._order[order])

    def halves(self) -> tuple[Matched, Matched]:
        """Read on every other group, twice: how well the numbers agree with themselves."""
        return self.among(self._groups[::2]), self.among(self._groups[1::2])

    def __len__(self) -> int:
        return len(self.layer)

    @property
    def tokens(self) -> float:
        """Tokens the correlations are read on."""
        return float(sum(self._matches[0].pairs[g].count for g in self._groups))

    @cached_property
    def _read(self) -> NDArray[np.float64]:
        """Signed ρ of every comparison, [seed, 1 + draw, unit]."""
        if not self._groups:
            return np.full((len(self._matches), *self._matches[0].sign.shape), np.nan)
        return np.stack(
            [(m.pairs_of(self._groups).correlation * m.sign).cpu().numpy()[:, self._order] for m in self._matches]
        )

    @property
    def layer(self) -> NDArray[np.int64]:
        """The layer of each unit, [unit]."""
        return np.asarray(self._matches[0].layer.numpy())

    @property
    def partner_layer(self) -> NDArray[np.int64]:
        """The layer of the unit it is matched with, [seed, unit]; −1 where there is none."""
        return np.stack([m.partner_layer.numpy()[self._order] for m in self._matches])

    @property
    def correlation(self) -> NDArray[np.float64]:
        """ρ with the best unit of each seed, [seed, unit]."""
        return self._read[:, 0]

    @property
    def baseline(self) -> NDArray[np.float64]:
        """ρ with the best direction of a random basis of each seed, mean over bases, [seed, unit]."""
        return np.asarray(self._read[:, 1:].mean(axis=1))

    @property
    def excess(self) -> NDArray[np.float64]:
        """Excess correlation ϱ: ρ beyond the baseline, mean over seeds, [unit] (paper, equation 3)."""
        return np.asarray((self.correlation - self.baseline).mean(axis=0))

    @property
    def universal(self) -> NDArray[np.bool_]:
        """Whether ϱ is above the threshold, [unit]."""
        return self.excess > self.threshold

    def share(self, above: float | None = None) -> float:
        """Share of units with ϱ above a bound, the threshold if none is given, among those that have one; or nan."""
        return _mean_known(self.excess, self.threshold if above is None else above)

    @property
    def mean_excess(self) -> float:
        """Mean ϱ of the units that have one; nan if none has."""
        return _mean_known(self.excess)

    @property
    def constant(self) -> int:
        """Units that never varied and have no ϱ."""
        return int(np.isnan(self.excess).sum())

    @property
    def draw_spread(self) -> float:
        """Deviation between random bases of the mean baseline: what another draw would change."""
        means = np.nanmean(self._read[:, 1:], axis=2)  # [seed, draw]
        return float(means.std(axis=1, ddof=1).mean()) if means.shape[1] > 1 else float("nan")

    @property
    def paper_share(self) -> float:
        """Share of units whose ϱ by the paper's procedure is above 0.5, among those that have one."""
        return _mean_known(self.paper, UNIVERSAL)

    @cached_property
    def paper(self) -> NDArray[np.float64]:
        """ϱ by the paper's procedure, [unit]: read where it was chosen, against unstandardised random bases."""
        found = [(m.choice.direct.correlation - m.choice.raw).cpu().double().numpy() for m in self._matches]
        return np.asarray(np.mean(found, axis=0)[self._order])


def _mean_known(values: NDArray[np.float64], above: float | None = None) -> float:
    """The mean of values that are not nan, or the share of them above a bound; nan if there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan")
    return float((known if above is None else known > above).mean())


class Universality:
    """The matches of every kind of unit of one model, in each of ``seeds``: a sample of document groups.

    ``tokens`` is how many were looked at, by both halves together, and ``documents`` how many were read. A unit
    is universal with ϱ above ``threshold``.
    """

    def __init__(
        self,
        found: Mapping[str, Sequence[Matches]],
        seeds: Sequence[str],
        *,
        tokens: int,
        documents: int,
        threshold: float = UNIVERSAL,
        kept: Sequence[int] | None = None,
    ) -> None:
        self._found = found
        self.seeds = tuple(seeds)
        self.tokens = tokens
        self.documents = documents
        self.threshold = threshold
        self._kept = list(range(len(next(iter(found.values()))[0].pairs))) if kept is None else list(kept)

    @property
    def groups(self) -> int:
        """How many document groups are read."""
        return len(self._kept)

    def without(self, group: int) -> Universality:
        """The same matches of every kind, read without one group."""
        kept = [g for i, g in enumerate(self._kept) if i != group]
        return Universality(
            self._found, self.seeds, tokens=self.tokens, documents=self.documents, threshold=self.threshold, kept=kept
        )

    def has(self, kind: str) -> bool:
        """Whether the model and all seeds have such units."""
        return kind in self._found

    def of(self, kind: str) -> Matched:
        """The matches of one kind of unit. Raises NotApplicable for a kind that was not found in all models."""
        if not self.has(kind):
            raise NotApplicable(f"no {kind} were found in the model and all its seeds")
        return Matched(self._found[kind], self._kept, threshold=self.threshold)

    @cached_property
    def neurons(self) -> Matched:
        """MLP neurons, after the activation function."""
        return self.of(NEURONS)

    @cached_property
    def dimensions(self) -> Matched:
        """Dimensions of the middle residual stream: no privileged basis, so no excess is expected."""
        return self.of(DIMENSIONS)

    @cached_property
    def head_values(self) -> Matched:
        """What the heads' output projections read: free to be rotated within a head, so none here either."""
        return self.of(VALUES)

    @cached_property
    def heads(self) -> Matched:
        """One number per head, the norm of what it writes, which depends on no basis."""
        return self.of(HEADS)
