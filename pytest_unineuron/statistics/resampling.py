"""Intervals by leaving out one group at a time, or from random draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

UNIT_GROUPS = 16
"""The most groups that units are dealt into where there are no documents to leave out."""


DOCUMENT_GROUPS = "document groups"
"""The groups of a sample, unless its ``kind`` says what else they are."""


class Sample(Protocol):
    """Measurements in groups of which any one can be left out."""

    @property
    def groups(self) -> int:
        """The number of groups."""
        ...

    def without(self, group: int) -> Self:
        """Return the sample without one group."""
        ...


class Addable(Protocol):
    """A value that can be added to another of its kind."""

    def __add__(self, other: Self, /) -> Self:
        """Return the sum of both."""
        ...


A = TypeVar("A", bound=Addable)


def leave_one_out_sums(parts: Sequence[A]) -> list[A]:
    """Return, for each of at least two parts, the sum of all others in their order.

    Sums of all parts before and of all parts after each one take 3n additions instead of n². The order of additions
    differs from that of a plain sum, so floats may differ by rounding. Raises ValueError for fewer than two parts.
    """
    if len(parts) < 2:
        raise ValueError(f"leave_one_out_sums needs at least 2 parts, got {len(parts)}")
    before = list(accumulate(parts, add))  # before[i] is the sum up to and including part i
    after = list(accumulate(reversed(parts), lambda later, part: part + later))[::-1]  # after[i], from part i on
    inner = [left + right for left, right in zip(before[:-2], after[2:], strict=True)]
    return [after[1], *inner, before[-2]]


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and interval; ``method`` says how these were computed.

    ``degrees`` are the degrees of freedom of the error, ``resolution`` is the smallest step by which the value can
    change. ``parts`` has, for each independent sample, the value with each group left out; the parts of two runs can be
    compared in pairs.
    """

    value: float
    low: float
    high: float
    error: float
    method: str
    degrees: int = 1
    resolution: float = 0.0
    parts: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def student(cls, value: float, error: float, degrees: int, method: str, **rest: Any) -> Self:
        """Return an estimate with Student's 95 % interval, of at least one degree of freedom."""
        degrees = max(1, degrees)
        reach = float(stats.t.ppf(0.975, degrees)) * error
        return cls(value, value - reach, value + reach, error, method, degrees, **rest)

    def p_value(self, bound: float, *, above: bool) -> float:
        """Return the probability of a value at least this far above (or below) ``bound`` if the truth is ``bound``."""
        distance = (self.value - bound) if above else (bound - self.value)
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(stats.t.sf(distance / self.error, self.degrees))


def jackknife(
    statistic: Callable[..., float],
    *samples: Any,
    resolution: float = 0.0,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Return ``statistic(*samples)`` with its delete-a-group jackknife interval.

    Each of ``samples`` is a Sample, such as the neurons of a model on a corpus, whose groups hold whole documents: the
    unit of resampling is the document, since neighbouring tokens repeat one another. Samples are independent, so their
    variances add; if one is given twice, the same group is left out of both. The interval is Student's, with one degree
    of freedom less than the smallest number of groups (Shao and Tu 1995, section 2.2). It is nan with fewer than two
    groups, or if the statistic is nan without one of them.

    ``statistic`` returns one number and must not depend on the order of documents. A share of n units changes in steps
    of 1/n, and may not change at all when a group is left out, which does not make it certain. Set ``resolution`` to
    that step; the error is at least as large. ``limits`` are the least and the largest possible value, (0, 1) for a
    share: the interval ends there.
    """
    value = float(statistic(*samples))
    distinct = list({id(sample): sample for sample in samples}.values())
    groups = min((sample.groups for sample in distinct), default=0)
    variance, parts = 0.0, []
    for sample in distinct:
        size = sample.groups
        if size < 2:
            variance = np.nan
            break
        partial = np.array(
            [statistic(*(s.without(group) if s is sample else s for s in samples)) for group in range(size)],
            dtype=float,
        )  # [group]
        parts.append(tuple(partial.tolist()))
        variance += (size - 1) / size * float(((partial - partial.mean()) ** 2).sum())
    error = max(float(np.sqrt(variance)), resolution) if np.isfinite(variance) else float("nan")
    kinds = dict.fromkeys(getattr(sample, "kind", DOCUMENT_GROUPS) for sample in distinct)
    method = f"delete-a-group jackknife over {groups} {' and '.join(kinds)}"
    found = Estimate.student(value, error, groups - 1, method, resolution=resolution, parts=tuple(parts))
    return replace(found, low=max(found.low, limits[0]), high=min(found.high, limits[1]))


class UnitGroups:
    """Numbers of units, which are dealt into groups within layers: a Sample of weights, which come from no document.

    ``layer`` and each of ``values`` are [unit]. Units in the same place fall into the same group in every arm.
    """

    kind = "groups of units"

    def __init__(
        self, layer: NDArray[np.int64], *values: NDArray[Any], number: NDArray[np.int64] | None = None
    ) -> None:
        self.layer, self.values = layer, values
        if number is None:
            number = np.empty(len(layer), dtype=np.int64)
            number[np.argsort(layer, kind="stable")] = np.arange(len(layer)) % UNIT_GROUPS
        self._number = number

    @property
    def groups(self) -> int:
        """The number of groups of units."""
        return len(np.unique(self._number))

    def without(self, group: int) -> UnitGroups:
        """Return the units without one group."""
        keep = self._number != np.unique(self._number)[group]
        return UnitGroups(self.layer[keep], *(each[keep] for each in self.values), number=self._number[keep])


def over_unit_groups(
    statistic: Callable[..., float],
    layer: NDArray[np.int64],
    *values: NDArray[Any],
    resolution: float = 0.0,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Return ``statistic(*values)``, each [unit], with a jackknife that leaves out groups of units of every layer.

    For statistics of weights; ``resolution`` and ``limits`` are those of ``jackknife``. The interval shows how much the
    value depends on which units a layer happens to have. It is none for a maximum, which few units decide.
    """
    units = UnitGroups(layer, *values)
    return jackknife(lambda sample: statistic(*sample.values), units, resolution=resolution, limits=limits)


def over_units(statistic: Callable[[Any], float], values: Any, *, units: str = "units") -> Estimate:
    """Return ``statistic(values)`` with a delete-one jackknife (Tukey 1958) over units such as heads.

    ``values`` is [unit]; ``units`` is their name in ``method``. Units of one model are not independent draws, so the
    interval only shows how much the value depends on single units.
    """
    value, size = float(statistic(values)), len(values)
    partial = np.array([statistic(np.delete(values, unit)) for unit in range(size)], dtype=float)
    error = float(np.sqrt((size - 1) / size * ((partial - partial.mean()) ** 2).sum())) if size > 1 else np.nan
    return Estimate.student(value, error, size - 1, f"delete-one jackknife over {size} {units}")


def over_splits(values: Any) -> Estimate:
    """Return the mean of a statistic over random halves of the same data, with its half-sample interval.

    ``values`` is [split], each computed on a random half. The standard deviation between halves estimates the standard
    error of the whole (half-sample replication, McCarthy 1969), so it is not divided by the number of splits.
    """
    values = np.asarray(values, dtype=float)
    error = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    method = f"half-sample replication, {len(values)} splits"
    return Estimate.student(float(values.mean()), error, len(values) - 1, method)


def against_draws(value: float, draws: Any) -> Estimate:
    """Return ``value`` minus the mean of draws from its null distribution, with an interval from their spread.

    ``draws`` is [draw]. If the value is one more draw, the interval contains zero with probability 0.95.
    """
    draws = np.asarray(draws, dtype=float)
    error = float(draws.std(ddof=1) * np.sqrt(1 + 1 / len(draws))) if len(draws) > 1 else np.nan
    difference = float(value - draws.mean())
    return Estimate.student(difference, error, len(draws) - 1, f"against {len(draws)} null draws")
