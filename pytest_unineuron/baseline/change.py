"""Whether one number differs from another by more than their intervals allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_unineuron.evidence.measurement import Measurement

ROUNDING = 1e-5
"""Relative difference between float32 results of one computation on two machines: nothing changed."""
UNSEEN = 0.1
"""Share of the larger standard error that pairing cannot take away: rounding moves units over a threshold in all
parts alike, which looks like a change without any error."""


def change(before: Measurement, after: Measurement) -> tuple[float, float]:
    """How much worse a claim stands, and the two-sided p-value of there being no change at all.

    The first is positive where the value moved towards its bound (or further beyond it), in the measurement's own
    unit. Two runs over the same groups of documents are paired: what the documents have in common cancels. Else
    the variances add. A number without any error is a count; it has changed if it differs at all.
    """
    assert before.value is not None
    assert after.value is not None
    worse = _distance(before) - _distance(after)
    counted = float(before.value).is_integer() and float(after.value).is_integer()
    if abs(worse) <= (0 if counted else ROUNDING * max(abs(before.value), abs(after.value))):
        return worse, 1.0
    error, degrees = _error(before, after)
    if error == 0:
        return worse, 0.0
    return worse, two_sided(abs(worse) / error, degrees)


def _distance(measurement: Measurement) -> float:
    """How far the value is on the claimed side of its nearest bound."""
    value = measurement.value or 0.0
    sides = ((measurement.above, 1), (measurement.below, -1))
    return min(sign * (value - bound) for bound, sign in sides if bound is not None)


def _error(before: Measurement, after: Measurement) -> tuple[float, int]:
    """The standard error of the difference, with its degrees of freedom."""
    spreads = [m.spread for m in (before, after) if m.spread is not None]
    if not spreads:
        return _from_intervals(before, after)
    degrees = min(s.degrees for s in spreads)
    single = max(s.error for s in spreads)
    if len(spreads) == 2 and spreads[0].parts and _shape(spreads[0].parts) == _shape(spreads[1].parts):
        variance = 0.0
        for one, other in zip(spreads[0].parts, spreads[1].parts, strict=True):
            differences = [b - a for a, b in zip(one, other, strict=True)]
            mean = math.fsum(differences) / len(differences)
            variance += (len(differences) - 1) / len(differences) * math.fsum((d - mean) ** 2 for d in differences)
        floor = max(UNSEEN * single, *(s.resolution for s in spreads))
        return max(math.sqrt(variance), floor), degrees
    return math.hypot(*(s.error for s in spreads)), degrees


def _from_intervals(before: Measurement, after: Measurement) -> tuple[float, int]:
    """From 95 % intervals that somebody gave without saying how they were made: taken for Normal ones."""
    halves = [(m.high - m.low) / 2 for m in (before, after) if m.low is not None and m.high is not None]
    return math.hypot(*halves) / 1.96, 1000


def _shape(parts: tuple[tuple[float, ...], ...]) -> list[int]:
    return [len(sample) for sample in parts]


def two_sided(t: float, degrees: int) -> float:
    """The chance of Student's t at least this far from zero, on either side (Abramowitz and Stegun 1964, 26.7.3-4).

    >>> round(two_sided(2.131, 15), 3)
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
