"""Intervals by leaving one group out at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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
    """A value with its standard error and 95 % interval; ``method`` says how they were made.

    ``degrees`` are the degrees of freedom of the error, ``resolution`` the finest step the value can move in.
    ``parts`` has, for each independent sample, the value with each group left out: what pairs two runs.
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
    def student(cls, value: float, error: float, degrees: int, method: str, level: float, **rest: Any) -> Self:
        """With Student's interval; at least one degree of freedom is taken."""
        degrees = max(1, degrees)
        reach = float(stats.t.ppf(0.5 + level / 2, degrees)) * error
        return cls(value, value - reach, value + reach, error, method, degrees, **rest)

    def p_value(self, bound: float, *, above: bool) -> float:
        """The chance of an estimate at least this far beyond ``bound``, were the truth at the bound (Student's t)."""
        distance = (self.value - bound) if above else (bound - self.value)
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(stats.t.sf(distance / self.error, self.degrees))


def jackknife(statistic: Callable[..., float], *samples: Any, resolution: float = 0.0, level: float = 0.95) -> Estimate:
    """``statistic(*samples)`` with its delete-a-group jackknife interval.

    Each of ``samples`` is a Sample, such as the neurons of a model on a corpus, whose groups hold whole
    documents: the unit of resampling is the document, since neighbouring tokens repeat one another. Samples
    are independent, so their variances add; a sample given twice is left out of jointly. The interval is
    Student's with one degree of freedom less than the smallest number of groups (Shao and Tu 1995, 2.2). With
    fewer than two groups, or where leaving one out leaves nothing to measure, the interval is nan.

    ``statistic`` returns one number and must not depend on the order of documents. A share of few units moves in
    steps, and may not move at all when a group is left out: that is no certainty. ``resolution`` is the step,
    one over the number of units, and the error is at least that.
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
    method = f"delete-a-group jackknife over {groups} document groups"
    return Estimate.student(value, error, groups - 1, method, level, resolution=resolution, parts=tuple(parts))


def over_units(
    statistic: Callable[[Any], float], values: Any, level: float = 0.95, *, units: str = "units"
) -> Estimate:
    """``statistic(values)`` with a delete-one jackknife over units, for what has no text: heads, dimensions, seeds.

    ``values`` is [unit]; ``units`` is what they are called. Units of one model are not independent draws; the
    interval says how much rests on single ones.
    """
    value, size = float(statistic(values)), len(values)
    partial = np.array([statistic(np.delete(values, unit)) for unit in range(size)], dtype=float)
    error = float(np.sqrt((size - 1) / size * ((partial - partial.mean()) ** 2).sum())) if size > 1 else np.nan
    return Estimate.student(value, error, size - 1, f"delete-one jackknife over {size} {units}", level)


def over_splits(values: Any, level: float = 0.95) -> Estimate:
    """The mean of a statistic over random halves of the same material, with its half-sample interval.

    ``values`` is [split], each computed on a random half. The deviation between halves estimates the standard
    error of the whole (half-sample replication; McCarthy 1969), so it is not divided by the number of splits.
    """
    values = np.asarray(values, dtype=float)
    error = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    method = f"half-sample replication, {len(values)} splits"
    return Estimate.student(float(values.mean()), error, len(values) - 1, method, level)


def against_draws(value: float, draws: Any, level: float = 0.95) -> Estimate:
    """How far ``value`` lies above the mean of draws from its null, with the draws' own spread as the interval.

    ``draws`` is [draw]. Were the value one more draw, the interval would hold zero with probability ``level``.
    """
    draws = np.asarray(draws, dtype=float)
    error = float(draws.std(ddof=1) * np.sqrt(1 + 1 / len(draws))) if len(draws) > 1 else np.nan
    difference = float(value - draws.mean())
    return Estimate.student(difference, error, len(draws) - 1, f"against {len(draws)} null draws", level)
