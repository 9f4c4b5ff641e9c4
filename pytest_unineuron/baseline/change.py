"""Whether a measured value differs between two runs by more than its standard errors allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_unineuron.evidence.measurement import Measurement

ROUNDING_TOLERANCE = 1e-5
"""The relative difference up to which float32 results of one computation on two machines count as equal."""
MIN_PAIRED_ERROR = 0.1
"""The least standard error of a paired difference, as a share of the larger single one. Rounding can move units over
a threshold in all parts alike, which looks like a change without any error."""


class ValueChange(NamedTuple):
    """The amount by which a value got worse, in its own unit, and the two-sided p-value of no change."""

    worsening: float
    p_value: float


def measure_change(before: Measurement, after: Measurement) -> ValueChange:
    """The change of a claimed value; ``worsening`` is positive if the value moved towards its bound, or beyond it.

    Runs over the same groups of documents are paired, so that the variation between documents cancels; otherwise the
    variances add. A number without a standard error is a count: it has changed if it differs at all.
    """
    assert before.value is not None
    assert after.value is not None
    worsening = _margin(before) - _margin(after)
    counts = float(before.value).is_integer() and float(after.value).is_integer()
    if abs(worsening) <= (0 if counts else ROUNDING_TOLERANCE * max(abs(before.value), abs(after.value))):
        return ValueChange(worsening, 1.0)
    error, degrees = _error_of_difference(before, after)
    if error == 0:
        return ValueChange(worsening, 0.0)
    return ValueChange(worsening, two_sided_p_value(abs(worsening) / error, degrees))


def _margin(measurement: Measurement) -> float:
    """The distance of the value from its nearest bound, positive on the claimed side."""
    value = measurement.value or 0.0
    sides = ((measurement.above, 1), (measurement.below, -1))
    return min(sign * (value - bound) for bound, sign in sides if bound is not None)


def _error_of_difference(before: Measurement, after: Measurement) -> tuple[float, int]:
    """The standard error of the difference of the two values, and its degrees of freedom."""
    errors = [m.spread for m in (before, after) if m.spread is not None]
    if not errors:
        return _error_from_intervals(before, after)
    degrees = min(e.degrees for e in errors)
    one, *others = [e.parts for e in errors]
    if not others or not one or list(map(len, one)) != list(map(len, others[0])):
        return math.hypot(*(e.error for e in errors)), degrees
    variance = sum(_jackknife_variance(a, b) for a, b in zip(one, others[0], strict=True))
    least = max(MIN_PAIRED_ERROR * max(e.error for e in errors), *(e.resolution for e in errors))
    return max(math.sqrt(variance), least), degrees


def _jackknife_variance(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """The delete-a-group jackknife variance of the difference, from the values without each group [group]."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    mean = math.fsum(differences) / len(differences)
    return (len(differences) - 1) / len(differences) * math.fsum((d - mean) ** 2 for d in differences)


def _error_from_intervals(before: Measurement, after: Measurement) -> tuple[float, int]:
    """The standard error from 95 % intervals that a trial gave without a standard error, taken as Normal."""
    halves = [(m.high - m.low) / 2 for m in (before, after) if m.low is not None and m.high is not None]
    return math.hypot(*halves) / 1.96, 1000


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
