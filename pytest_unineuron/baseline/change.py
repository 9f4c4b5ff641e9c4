"""Whether a measured value differs between two runs by more than its standard errors allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.contrast import ROUNDING_TOLERANCE
from pytest_unineuron.evidence.measurement import is_whole
from pytest_unineuron.evidence.standard_error import error_of_difference, two_sided_p_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_unineuron.evidence.measurement import Measurement


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
    worsening = max(_worsenings(before, after))
    counts = is_whole(before.value) and is_whole(after.value)
    if abs(worsening) <= (0 if counts else ROUNDING_TOLERANCE * max(abs(before.value), abs(after.value))):
        return ValueChange(worsening, 1.0)
    error, degrees = error_of_difference(before.standard_error, after.standard_error)
    if error == 0:
        return ValueChange(worsening, 0.0)
    return ValueChange(worsening, two_sided_p_value(abs(worsening) / error, degrees))


def _worsenings(before: Measurement, after: Measurement) -> Iterator[float]:
    """How much nearer the value came to the nearest of its bounds, and how much of a distance from controls it lost."""
    old, new = before.value or 0.0, after.value or 0.0
    bounds = [(bound, sign) for bound, sign in ((before.above, 1), (before.below, -1)) if bound is not None]
    if bounds:
        margins = [min(sign * (value - bound) for bound, sign in bounds) for value in (old, new)]
        yield margins[0] - margins[1]
    yield from (sign * (old - new) for by, sign in ((before.higher_by, 1), (before.lower_by, -1)) if by is not None)
