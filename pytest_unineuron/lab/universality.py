"""Universality as trials read it: how much better than by a random basis each unit is matched in other seeds."""

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
"""The threshold on the excess correlation ϱ (Gurnee et al. 2024, section 4.1), which its authors call arbitrary."""
UNIVERSAL_IN_SMALL_MODELS, SMALL_MODEL = 0.4, 100e6
"""The threshold in models with fewer than so many parameters, whose largest ϱ barely reach the paper's threshold."""


def universality_threshold(parameters: int) -> float:
    """Return the excess correlation above which a unit of a model with so many parameters is universal."""
    return UNIVERSAL if parameters >= SMALL_MODEL else UNIVERSAL_IN_SMALL_MODELS


class Matched:
    """The units of one kind, matched in every further seed of the model.

    Correlations are computed on the held-out split, from ``groups`` of its documents or all of them. Arrays are
    [unit] or [seed, unit], float64; a unit that never varied is nan. For the jackknife, ``without(group)`` leaves one
    group out. A unit is universal if its excess correlation is above ``threshold``. ``order``, [unit], gives every
    unit the matches of another one, as the control that permutes labels does.
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
        """The number of document groups."""
        return len(self._groups)

    def without(self, group: int) -> Matched:
        """Return the matches without one group of documents."""
        return self.among([g for i, g in enumerate(self._groups) if i != group])

    def among(self, groups: Sequence[int]) -> Matched:
        """Return the matches on these groups of documents alone."""
        return Matched(self._matches, groups, threshold=self.threshold, order=self._order)

    def in_seeds(self, seeds: Sequence[int]) -> Matched:
        """Return the matches in some of the seeds, by number."""
        matches = [self._matches[seed] for seed in seeds]
        return Matched(matches, self._groups, threshold=self.threshold, order=self._order)

    def permuted(self, order: NDArray[np.int64]) -> Matched:
        """Return the matches in another order: each unit gets those of the unit ``order`` names, [unit]."""
        return Matched(self._matches, self._groups, threshold=self.threshold, order=self._order[order])

    def halves(self) -> tuple[Matched, Matched]:
        """Return the matches on the even groups and on the odd ones, to see how well numbers agree with themselves."""
        return self.among(self._groups[::2]), self.among(self._groups[1::2])

    def __len__(self) -> int:
        return len(self.layer)

    @property
    def tokens(self) -> float:
        """The number of tokens that the correlations are computed on."""
        return float(sum(self._matches[0].pairs[g].count for g in self._groups))

    @cached_property
    def _correlations(self) -> NDArray[np.float64]:
        """Signed ρ with the best unit and with the best direction of each random basis, [seed, 1 + basis, unit]."""
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
        """The layer of the partner of each unit, [seed, unit]; −1 where there is none."""
        return np.stack([m.partner_layer.numpy()[self._order] for m in self._matches])

    @property
    def partner(self) -> NDArray[np.int64]:
        """The number of the partner of each unit among the units of a seed, [seed, unit]; −1 where there is none."""
        return np.stack([m.choice.direct.partner.cpu().numpy()[self._order] for m in self._matches])

    @property
    def correlation(self) -> NDArray[np.float64]:
        """ρ with the best unit of a seed, [seed, unit]."""
        return self._correlations[:, 0]

    @property
    def baseline(self) -> NDArray[np.float64]:
        """ρ with the best direction of a random basis of a seed, mean over bases, [seed, unit]."""
        return np.asarray(self._correlations[:, 1:].mean(axis=1))

    @property
    def excess(self) -> NDArray[np.float64]:
        """Excess correlation ϱ: ρ minus the baseline, mean over seeds, [unit] (Gurnee et al. 2024, equation 3)."""
        return np.asarray((self.correlation - self.baseline).mean(axis=0))

    @property
    def universal(self) -> NDArray[np.bool_]:
        """Whether ϱ is above the threshold, [unit]."""
        return self.excess > self.threshold

    def share(self, above: float | None = None) -> float:
        """Return the share of units whose ϱ is above a bound (default: the threshold) among those that have one."""
        return _mean_known(self.excess, self.threshold if above is None else above)

    @property
    def mean_excess(self) -> float:
        """The mean ϱ of the units that have one; nan if none has."""
        return _mean_known(self.excess)

    @property
    def constant(self) -> int:
        """The number of units that never varied, which have no ϱ."""
        return int(np.isnan(self.excess).sum())

    @property
    def paper_share(self) -> float:
        """The share of units whose ϱ by the paper's procedure is above 0.5, among those that have one."""
        return _mean_known(self.paper, UNIVERSAL)

    @cached_property
    def paper(self) -> NDArray[np.float64]:
        """ϱ by the paper's own procedure (Gurnee et al. 2024, equation 3), [unit].

        Partners are read on the text on which they were chosen, and random bases are of unstandardised units.
        """
        found = [(m.choice.direct.correlation - m.choice.raw).cpu().double().numpy() for m in self._matches]
        return np.asarray(np.mean(found, axis=0)[self._order])


def _mean_known(values: NDArray[np.float64], above: float | None = None) -> float:
    """The mean of the values that are not nan, or the share of them above a bound; nan if there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan")
    return float((known if above is None else known > above).mean())


class Universality:
    """The matches of every kind of unit of one model in each of ``seeds``.

    ``matches`` holds them by kind and seed. ``tokens`` were compared in both splits together, of ``documents`` that
    were read. A unit is universal if its ϱ is above ``threshold``. ``groups`` of documents are read, or all of them;
    for the jackknife, ``without(group)`` leaves one out. For a control arm, ``subject`` are those of the model itself.
    """

    def __init__(
        self,
        matches: Mapping[str, Sequence[Matches]],
        seeds: Sequence[str],
        *,
        tokens: int,
        documents: int,
        threshold: float = UNIVERSAL,
        groups: Sequence[int] | None = None,
        subject: Universality | None = None,
    ) -> None:
        self._matches = matches
        self.subject = subject
        self.seeds = tuple(seeds)
        self.tokens = tokens
        self.documents = documents
        self.threshold = threshold
        self._groups = list(range(len(next(iter(matches.values()))[0].pairs))) if groups is None else list(groups)

    @property
    def groups(self) -> int:
        """The number of document groups."""
        return len(self._groups)

    def without(self, group: int) -> Universality:
        """Return the matches without one group of documents."""
        return Universality(
            self._matches,
            self.seeds,
            tokens=self.tokens,
            documents=self.documents,
            threshold=self.threshold,
            groups=[g for i, g in enumerate(self._groups) if i != group],
        )

    def has(self, kind: str) -> bool:
        """Whether the model and all seeds have such units."""
        return kind in self._matches

    def of(self, kind: str) -> Matched:
        """Return the matches of one kind of unit. Raises NotApplicable for a kind that not all models have."""
        if not self.has(kind):
            raise NotApplicable(f"no {kind} were found in the model and all its seeds")
        return Matched(self._matches[kind], self._groups, threshold=self.threshold)

    @cached_property
    def neurons(self) -> Matched:
        """MLP neurons, after the activation function."""
        return self.of(NEURONS)

    @cached_property
    def dimensions(self) -> Matched:
        """Dimensions of the middle residual stream. It has no privileged basis, so no excess is expected."""
        return self.of(DIMENSIONS)

    @cached_property
    def head_values(self) -> Matched:
        """The inputs of the heads' output projections. They can be rotated within a head, so no excess is expected."""
        return self.of(VALUES)

    @cached_property
    def heads(self) -> Matched:
        """Attention heads, by the norm of what each writes, which depends on no basis."""
        return self.of(HEADS)
