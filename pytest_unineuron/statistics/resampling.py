"""Intervals by leaving one group out at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable


class Sample(Protocol):
    """Something gathered in groups, which can be had again without one of them."""

    @property
    def groups(self) -> int:
        """How many groups there are."""
        ...

    def without(self, group: int) -> Self:
        """The sample without one group."""
        ...


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and 95 % interval; ``method`` says how they were made."""

    value: float
    low: float
    high: float
    error: float
    method: str


def jackknife(statistic: Callable[..., float], *samples: Any, level: float = 0.95) -> Estimate:
    """``statistic(*samples)`` with its delete-a-group jackknife interval.

    Each of ``samples`` is a Sample, such as the neurons of a model on a corpus, whose groups hold whole
    documents: the unit of resampling is the document, since neighbouring tokens repeat one another. Samples
    are independent, so their variances add; a sample given twice is left out of jointly. The interval is
    Student's with one degree of freedom less than the smallest number of groups (Shao and Tu 1995, 2.2). With
    fewer than two groups, or where leaving one out leaves nothing to measure, the interval is nan.

    ``statistic`` returns one number and must not depend on the order of documents.
    """
    value = float(statistic(*samples))
    distinct = list({id(sample): sample for sample in samples}.values())
    groups = min((sample.groups for sample in distinct), default=0)
    variance = 0.0
    for sample in distinct:
        size = sample.groups
        partial = np.array([
            statistic(*(s.without(group) if s is sample else s for s in samples)) for group in range(size)
        ], dtype=float)  # [group]  # fmt: skip
        variance += (size - 1) / size * float(((partial - partial.mean()) ** 2).sum()) if size > 1 else np.nan
    error = float(np.sqrt(variance))
    reach = float(stats.t.ppf(0.5 + level / 2, max(1, groups - 1))) * error
    method = f"delete-a-group jackknife over {groups} document groups"
    return Estimate(value, value - reach, value + reach, error, method)
