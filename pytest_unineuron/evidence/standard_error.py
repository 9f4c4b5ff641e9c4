"""The standard error of an estimate, by which two runs tell a change from noise."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_PAIRED_ERROR = 0.1
"""The least standard error of a paired difference, as a share of the larger single one. Rounding can move units over
a threshold in all parts alike, which looks like a change without any error."""


@dataclass(frozen=True)
class StandardError:
    """A standard error with its degrees of freedom.

    ``resolution`` is the smallest step by which the value can change. ``parts`` holds, for each independent sample,
    the value with each of its groups of documents left out [group]: runs over the same documents are paired by these.
    """

    error: float
    degrees: int
    resolution: float = 0.0
    parts: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, estimate: object) -> StandardError | None:
        """The standard error that an estimate carries; None if it has none, or one that is not finite."""
        error = getattr(estimate, "error", None)
        degrees = int(getattr(estimate, "degrees", 1))
        if not isinstance(error, float | int) or not math.isfinite(error) or error < 0 or degrees < 1:
            return None
        resolution = float(getattr(estimate, "resolution", 0.0))
        if not (math.isfinite(resolution) and resolution >= 0):
            return None
        parts = tuple(tuple(map(float, sample)) for sample in getattr(estimate, "parts", ()))
        if not all(math.isfinite(value) for sample in parts for value in sample):
            parts = ()
        return cls(float(error), degrees, resolution, parts)

    def as_dict(self) -> dict[str, Any]:
        """The standard error as plain JSON data."""
        return {**asdict(self), "parts": [list(sample) for sample in self.parts]}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> StandardError:
        """The standard error from the data that ``as_dict`` returned."""
        return cls(**{**data, "parts": tuple(tuple(sample) for sample in data["parts"])})


def error_of_difference(one: StandardError | None, other: StandardError | None) -> tuple[float, int]:
    """The standard error of the difference of two estimates, and its degrees of freedom; 0 if neither has an error.

    Estimates over the same groups of documents are paired, so that the variation between documents cancels; otherwise
    the variances add.
    """
    errors = [error for error in (one, other) if error is not None]
    if not errors:
        return 0.0, 1
    degrees = min(e.degrees for e in errors)
    first, *others = [e.parts for e in errors]
    if not others or not first or list(map(len, first)) != list(map(len, others[0])):
        return math.hypot(*(e.error for e in errors)), degrees
    variance = sum(_jackknife_variance(a, b) for a, b in zip(first, others[0], strict=True))
    least = max(MIN_PAIRED_ERROR * max(e.error for e in errors), *(e.resolution for e in errors))
    return max(math.sqrt(variance), least), degrees


def _jackknife_variance(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """The delete-a-group jackknife variance of the difference, from the values without each group [group]."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    mean = math.fsum(differences) / len(differences)
    return (len(differences) - 1) / len(differences) * math.fsum((d - mean) ** 2 for d in differences)


def two_sided_p_value(t: float, degrees: int) -> float:
    """The probability that Student's t is at least this far from zero (Abramowitz and Stegun 1964, 26.7.3-4).

    >>> round(two_sided_p_value(2.131, 15), 3)
    0.05
    """
    angle = math.atan2(t, math.sqrt(degrees))
    cosine, term, total = math.cos(angle) ** 2, 1.0, 0.0
    odd = degrees % 2
    if odd:
        term = math.cos(angle)
    for j in range(degrees // 2):
        total += term
        step = (2 * j + 2) / (2 * j + 3) if odd else (2 * j + 1) / (2 * j + 2)
        term *= step * cosine
    within = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return min(1.0, max(0.0, 1.0 - within))


@cache
def student_quantile(degrees: int) -> float:
    """The number that Student's t exceeds in absolute value with probability 0.05.

    >>> round(student_quantile(15), 3)
    2.131
    """
    low, high = 0.0, 1e6
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p_value(middle, degrees) > 0.05 else (low, middle)
    return high
