"""A measured number with its unit, its interval and the bound that a trial claims for it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pytest_unineuron.evidence.standard_error import StandardError
from pytest_unineuron.evidence.unit_contrast import Profile, UnitContrast, profile_data, profile_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOUND_TOLERANCE = 1e-6
"""A float within this relative distance of its bound counts as at the bound: rounding decides on which side it is."""


BOUND_FIELDS = ("above", "below", "null", "higher_by", "lower_by", "needed")
"""The fields of a measurement that say what is claimed or needed."""


MeasurementKey = tuple[str, int]
"""The name of a measurement, and the number of measurements of that name before it."""


@runtime_checkable
class HasInterval(Protocol):
    """A value with a 95 % interval, such as the estimate that a jackknife returns."""

    value: float
    low: float
    high: float
    method: str


class BoundStatus(StrEnum):
    """How a measurement compares with its bound."""

    HOLDS = "holds"
    MISSES = "misses"
    UNCLEAR = "unclear"
    UNDEFINED = "undefined"
    REPORTED = "reported"


WEAKEST_FIRST = (BoundStatus.MISSES, BoundStatus.UNDEFINED, BoundStatus.UNCLEAR, BoundStatus.HOLDS)


@dataclass(frozen=True)
class Measurement:
    """One measured number.

    ``above`` and ``below`` are the bounds of the claim. ``null`` is the limit for controls: they must stay below it
    where the claim has a bound ``above``, and above it otherwise. ``low`` and ``high`` are the ends of a 95 % interval,
    made by ``method``. ``p`` is the one-sided p-value of the claim, and ``spread`` the standard error by which a later
    run tells a change from noise. ``needed`` marks a minimum (of tokens, heads, words) below which nothing can be
    concluded. ``value`` is None if the number was nan or infinite; ``note`` then says which.
    """

    name: str
    value: float | None
    unit: str = ""
    above: float | None = None
    below: float | None = None
    null: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    needed: bool = False
    note: str = ""
    p: float | None = None
    spread: StandardError | None = None
    higher_by: float | None = None
    lower_by: float | None = None
    by_unit: bool = False
    contrast: UnitContrast | None = None
    profile: Profile = ()

    @property
    def bound_status(self) -> BoundStatus:
        """How the number compares with its bound; it holds only if the whole interval is on the claimed side."""
        if self.above is None and self.below is None and not self.compared:
            return BoundStatus.REPORTED
        if self.value is None:
            return BoundStatus.UNDEFINED
        if self.needed:
            return BoundStatus.HOLDS if self.above is None or self.value >= self.above else BoundStatus.MISSES
        if self.lacks_interval:
            return BoundStatus.UNCLEAR
        sides = [
            _one_sided_status(sign * self.value, sign * bound, *sorted(sign * end for end in self._ends))
            for sign, bound in ((1, self.above), (-1, self.below))
            if bound is not None
        ]
        for status in (BoundStatus.MISSES, BoundStatus.UNCLEAR):
            if status in sides:
                return status
        return BoundStatus.HOLDS

    @property
    def lacks_interval(self) -> bool:
        """Whether an interval was asked for and could not be made."""
        return bool(self.method) and self.low is None

    @property
    def compared(self) -> bool:
        """Whether the claim is that the model lies beyond its controls."""
        return self.higher_by is not None or self.lower_by is not None

    @property
    def claimed(self) -> bool:
        """Whether the number is part of the claim: it has a bound and is not a minimum."""
        return not self.needed and self.bound_status is not BoundStatus.REPORTED

    @property
    def standard_error(self) -> StandardError | None:
        """The standard error; of an interval that came without one, that of a Normal value. None for an exact one."""
        if self.spread is not None or self.low is None or self.high is None:
            return self.spread
        return StandardError((self.high - self.low) / 2 / 1.96, 1000)

    @property
    def _ends(self) -> tuple[float, float]:
        """The interval, widened to contain the value; the value twice if there is no interval."""
        value = math.nan if self.value is None else self.value
        given = [end for end in (self.low, self.high) if end is not None]
        return min(value, *given, value), max(value, *given, value)

    @property
    def exceeds_control_limit(self) -> bool:
        """Whether the number, measured on a control, is beyond the limit for controls."""
        if self.null is None or self.value is None:
            return False
        sign = 1 if self.above is not None else -1
        value = sign * self.value
        return _one_sided_status(value, sign * self.null, value, value) is BoundStatus.HOLDS

    def reached_by(self, value: float) -> bool:
        """Whether ``value``, measured on another arm, is at least as far on the claimed side as this number."""
        own = math.nan if self.value is None else self.value
        if self.above is not None and self.below is not None:
            return min(value - self.above, self.below - value) >= min(own - self.above, self.below - own)
        return (self.above is None or value >= own) and (self.below is None or value <= own)

    @property
    def value_text(self) -> str:
        """The value with its interval, ``0.0431 [0.0391, 0.0471]``, in digits that tell them from the bounds."""
        bounds = self.above, self.below
        return format_number(self.value, *bounds) + format_interval(self.low, self.high, *bounds)

    @property
    def bounds_text(self) -> str:
        """The bounds of the claim, ``> 0.01 and < 0.5``; empty if there are none."""
        bounds, beside = ((">", self.above), ("<", self.below)), (self.value, self.low, self.high)
        return " and ".join(f"{sign} {format_number(bound, *beside)}" for sign, bound in bounds if bound is not None)

    def __str__(self) -> str:
        """One line: ``share heavy on both = 0.0431 [0.0391, 0.0471], claimed > 0.01``."""
        bounds = f", claimed {self.bounds_text}" if self.bounds_text else ""
        if self.needed:
            bounds = f", needed at least {format_number(self.above)}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.name} = {self.value_text}{f' {self.unit}' if self.unit else ''}{bounds}{note}"

    def as_dict(self) -> dict[str, Any]:
        """The measurement as plain JSON data, with its status under the key ``standing``."""
        parts: dict[str, Any] = {
            "spread": self.spread.as_dict() if self.spread else None,
            "contrast": self.contrast.as_dict() if self.contrast else None,
            "profile": profile_data(self.profile),
        }
        return {**asdict(self), **parts, "standing": str(self.bound_status)}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """The measurement from the data that ``as_dict`` returned."""
        fields = {key: value for key, value in data.items() if key != "standing"}
        fields["spread"] = StandardError.of_dict(data["spread"]) if data["spread"] else None
        fields["contrast"] = UnitContrast.of_dict(data["contrast"]) if data["contrast"] else None
        return cls(**{**fields, "profile": profile_of(data["profile"])})


def is_whole(value: float) -> bool:
    """Whether a number is a whole one, such as a count, and exact: all floats from 2^53 on are whole."""
    return abs(value) < 2**53 and float(value).is_integer()


def _one_sided_status(value: float, bound: float, low: float, high: float) -> BoundStatus:
    """The status of the claim ``value > bound``, given the interval [low, high] of the value."""
    exact = is_whole(value) and is_whole(bound)
    tolerance = 0.0 if exact else BOUND_TOLERANCE * max(abs(value), abs(bound))
    if low > bound + tolerance:
        return BoundStatus.HOLDS
    if high < bound - tolerance or (exact and high <= bound):
        return BoundStatus.MISSES
    return BoundStatus.UNCLEAR


def format_number(value: float | None, *bounds: float | None) -> str:
    """The number with three significant digits, so that differences in the last bits do not show.

    It gets more digits where it would not look smaller or larger than one of ``bounds`` as it is.

    >>> format_number(0.0431234), format_number(1211), format_number(None), format_number(12.0)
    ('0.0431', '1211', 'undefined', '12')
    >>> format_number(0.64012, 0.64), format_number(0.64, 0.64), format_number(1000.4, 1000)
    ('0.6401', '0.64', '1000.4')
    """
    if value is None:
        return "undefined"
    others = [b for b in bounds if b is not None and not math.isclose(b, value, rel_tol=BOUND_TOLERANCE)]
    for digits in range(3, 9):
        text = _rounded(value, digits)
        shown = [float(_rounded(other, digits)) for other in others]
        own, pairs = float(text), zip(shown, others, strict=True)
        if all((own < seen, own > seen) == (value < other, value > other) for seen, other in pairs):
            return text
    return str(value)


def _rounded(value: float, digits: int) -> str:
    """The number with so many significant digits; a whole number as it is."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.{digits}g}"


def format_interval(low: float | None, high: float | None, *bounds: float | None) -> str:
    """The interval as a suffix of a value, `` [0.0391, 0.0471]``, empty if there is none; bounds as for a number."""
    return "" if low is None or high is None else f" [{format_number(low, *bounds)}, {format_number(high, *bounds)}]"


def exact_bounds(
    *,
    above: float | None = None,
    below: float | None = None,
    null: float | None = None,
    higher_by: float | None = None,
    lower_by: float | None = None,
    needed: bool = False,
) -> str:
    """The bounds of a measurement in full precision, so that two texts differ wherever the bounds do.

    >>> exact_bounds(above=0.5, null=0.25), exact_bounds(lower_by=0.06)
    ('> 0.5, controls 0.25', 'lower than controls by 0.06')
    """
    words = ((">", above), ("<", below), ("higher than controls by", higher_by), ("lower than controls by", lower_by))
    bounds = [f"{word} {bound!r}" for word, bound in words if bound is not None]
    limit = f", controls {null!r}" if null is not None else ""
    return ("at least " if needed else "") + (" and ".join(bounds) or "nothing") + limit


def bounds_of(measurement: Measurement) -> dict[str, Any]:
    """The bounds of a measurement by name, as ``exact_bounds`` takes them."""
    return {name: getattr(measurement, name) for name in BOUND_FIELDS}


def measurements_by_key(measurements: Iterable[Measurement]) -> dict[MeasurementKey, Measurement]:
    """The measurements by name and number, since a trial can use a name several times."""
    found: dict[MeasurementKey, Measurement] = {}
    count: Counter[str] = Counter()
    for m in measurements:
        found[m.name, count[m.name]] = m
        count[m.name] += 1
    return found
