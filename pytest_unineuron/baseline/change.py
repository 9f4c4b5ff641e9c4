"""Whether a measured value differs between two runs by more than its standard errors allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.standard_error import error_of_difference, two_sided_p_value

if TYPE_CHECKING:
    from pytest_unineuron.evidence.measurement import Measurement

ROUNDING_TOLERANCE = 1e-5
"""The relative difference up to which float32 results of one computation on two machines count as equal."""


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
    error, degrees = error_of_difference(before.standard_error, after.standard_error)
    if error == 0:
        return ValueChange(worsening, 0.0)
    return ValueChange(worsening, two_sided_p_value(abs(worsening) / error, degrees))


def _margin(measurement: Measurement) -> float:
    """The distance of the value from its nearest bound, positive on the claimed side.

    A least distance from controls is no bound on the value; only how a margin changes is of use.
    """
    m = measurement
    value = m.value or 0.0
    sides = ((m.above, 1), (m.below, -1), (m.higher_by, 1), (m.lower_by, -1))
    return min(sign * (value - bound) for bound, sign in sides if bound is not None)
