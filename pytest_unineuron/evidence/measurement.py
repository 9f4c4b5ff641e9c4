"""A measured number with its unit, its interval and the bound that a trial claims for it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pytest_unineuron.errors import TrialError
from pytest_unineuron.evidence.standard_error import StandardError
from pytest_unineuron.evidence.text import escape_surrogates

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUND_TOLERANCE = 1e-6
"""A float within this relative distance of its bound counts as at the bound: rounding decides on which side it is."""


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

    @property
    def bound_status(self) -> BoundStatus:
        """How the number compares with its bound; it holds only if the whole interval is on the claimed side."""
        if self.above is None and self.below is None:
            return BoundStatus.REPORTED
        if self.value is None:
            return BoundStatus.UNDEFINED
        if self.needed:
            return BoundStatus.HOLDS if self.above is None or self.value >= self.above else BoundStatus.MISSES
        if self.method and self.low is None:
            return BoundStatus.UNCLEAR  # an interval was asked for and could not be made
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
    def claimed(self) -> bool:
        """Whether the number is part of the claim: it has a bound and is not a minimum."""
        return not self.needed and self.bound_status is not BoundStatus.REPORTED

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
        return self.value > self.null if self.above is not None else self.value < self.null

    def reached_by(self, value: float) -> bool:
        """Whether ``value``, measured on another arm, is at least as far on the claimed side as this number."""
        own = math.nan if self.value is None else self.value
        return (self.above is None or value >= own) and (self.below is None or value <= own)

    @property
    def interval_text(self) -> str:
        """The interval as a suffix of the value, `` [0.0391, 0.0471]``; empty if there is none."""
        if self.low is None or self.high is None:
            return ""
        return f" [{format_number(self.low)}, {format_number(self.high)}]"

    @property
    def bounds_text(self) -> str:
        """The bounds of the claim, ``> 0.01 and < 0.5``; empty if there are none."""
        bounds = ((">", self.above), ("<", self.below))
        return " and ".join(f"{sign} {format_number(bound)}" for sign, bound in bounds if bound is not None)

    def __str__(self) -> str:
        """One line: ``share heavy on both = 0.0431 [0.0391, 0.0471], claimed > 0.01``."""
        unit = f" {self.unit}" if self.unit else ""
        bounds = f", claimed {self.bounds_text}" if self.bounds_text else ""
        if self.needed:
            bounds = f", needed at least {format_number(self.above)}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.name} = {format_number(self.value)}{unit}{self.interval_text}{bounds}{note}"

    def as_dict(self) -> dict[str, Any]:
        """The measurement as plain JSON data, with its status under the key ``standing``."""
        spread = self.spread.as_dict() if self.spread else None
        return {**asdict(self), "spread": spread, "standing": str(self.bound_status)}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """The measurement from the data that ``as_dict`` returned."""
        fields = {key: value for key, value in data.items() if key != "standing"}
        return cls(**{**fields, "spread": StandardError.of_dict(data["spread"]) if data["spread"] else None})


def _one_sided_status(value: float, bound: float, low: float, high: float) -> BoundStatus:
    """The status of the claim ``value > bound``, given the interval [low, high] of the value."""
    exact = float(value).is_integer() and float(bound).is_integer()
    tolerance = 0.0 if exact else BOUND_TOLERANCE * max(abs(value), abs(bound))
    if low > bound + tolerance:
        return BoundStatus.HOLDS
    if high < bound - tolerance or (exact and high <= bound):
        return BoundStatus.MISSES
    return BoundStatus.UNCLEAR


def format_number(value: float | None) -> str:
    """The number with three significant digits, so that differences in the last bits do not show.

    >>> format_number(0.0431234), format_number(1211), format_number(None), format_number(12.0)
    ('0.0431', '1211', 'undefined', '12')
    """
    if value is None:
        return "undefined"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.3g}"


def exact_bounds(*, above: float | None, below: float | None, null: float | None, needed: bool) -> str:
    """The bounds of a measurement in full precision, so that two texts differ wherever the bounds do.

    >>> exact_bounds(above=0.5, below=None, null=0.25, needed=False)
    '> 0.5, controls 0.25'
    """
    bounds = [f"{sign} {bound!r}" for sign, bound in ((">", above), ("<", below)) if bound is not None]
    limit = f", controls {null!r}" if null is not None else ""
    return ("at least " if needed else "") + (" and ".join(bounds) or "nothing") + limit


def make_measurement(
    name: str,
    value: object,
    *,
    unit: str = "",
    above: float | None = None,
    below: float | None = None,
    null: float | None = None,
    interval: tuple[float, float] | None = None,
    note: str = "",
) -> Measurement:
    """A measurement of a Python number, a numpy or torch scalar, or an estimate with an interval.

    Raises TrialError if ``value`` is none of these, if a bound is not finite, if ``interval`` is not a pair of numbers,
    or if ``null`` is given without ``above`` or ``below``, or lies beyond them.
    """
    if null is not None and above is None and below is None:
        raise TrialError(f"measure({name!r}): null={null} is a limit for controls and needs above=… or below=…")
    bounds = {"above": above, "below": below, "null": null}
    bounds = {word: None if bound is None else _finite_bound(name, word, bound) for word, bound in bounds.items()}
    _check_null(name, **bounds)
    estimate = value if isinstance(value, HasInterval) else None
    low, high = _interval(name, (estimate.low, estimate.high) if estimate else interval)
    method = escape_surrogates(estimate.method) if estimate else ""
    p = _p_value(name, estimate, bounds["above"], bounds["below"]) if estimate else None
    number = _as_float(name, estimate.value if estimate else value)
    notes = [escape_surrogates(note)] if note else []
    fields: dict[str, Any] = {"name": _on_one_line(name), "unit": _on_one_line(unit), **bounds}
    if not math.isfinite(number):
        notes.append("nan: nothing to measure" if math.isnan(number) else str(number))
        return Measurement(value=None, method=method, note="; ".join(notes), **fields)
    if not math.isfinite(low or 0.0) or not math.isfinite(high or 0.0):
        low = high = None
        method = method or "an interval"
        notes.append("no interval" if notes else "no interval could be made")
    fields |= {"low": low, "high": high, "method": method, "note": "; ".join(notes)}
    return Measurement(value=number, p=p, spread=StandardError.of(value), **fields)


def _check_null(name: str, above: float | None, below: float | None, null: float | None) -> None:
    """Raise TrialError for a limit of controls that a control exceeds only if it shows the claim as well."""
    for word, bound, beyond in (
        ("above", above, null is not None and above is not None and null > above),
        ("below", below, null is not None and below is not None and null < below),
    ):
        if beyond:
            raise TrialError(
                f"measure({name!r}): null={null} lies beyond the claim, {word}={bound}; give a limit that is nearer to "
                "what controls show, or leave it out"
            )


def _finite_bound(name: str, word: str, bound: object) -> float:
    number = _as_float(name, bound)
    if not math.isfinite(number):
        raise TrialError(f"measure({name!r}, {word}={number}): a bound has to be a finite number")
    return number


def _interval(name: str, interval: tuple[float, float] | None) -> tuple[float, float] | tuple[None, None]:
    if interval is None:
        return None, None
    try:
        low, high = interval
    except (TypeError, ValueError):
        raise TrialError(f"measure({name!r}, interval={interval!r}): an interval is a pair, (low, high)") from None
    return _as_float(name, low), _as_float(name, high)


def _p_value(name: str, estimate: HasInterval, above: float | None, below: float | None) -> float | None:
    """The one-sided p-value of the claim, the larger one of two bounds; None if the estimate cannot tell."""
    p_value = getattr(estimate, "p_value", None)
    if p_value is None:
        return None
    sides = [(bound, is_above) for bound, is_above in ((above, True), (below, False)) if bound is not None]
    p = max((_as_float(name, p_value(bound, above=is_above)) for bound, is_above in sides), default=math.nan)
    return p if math.isfinite(p) else None


def _on_one_line(text: object) -> str:
    return " ".join(escape_surrogates(text).split())


def _as_float(name: str, value: object) -> float:
    """The value as a Python float. Raises TrialError if it is not one number."""
    item = getattr(value, "item", None)
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError  # text that looks like a number was not measured as one
        return float(item() if callable(item) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise TrialError(
            f"measure({name!r}, …): {type(value).__name__} is not one number; reduce it first (mean, share, count)"
        ) from None
