"""One number with its unit, its interval and the bound it must keep."""

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
"""A float this close to its bound, relatively, is at the bound: which side it fell on is rounding."""


@runtime_checkable
class HasInterval(Protocol):
    """Anything that carries a value and a 95 % interval, such as what a jackknife returns."""

    value: float
    low: float
    high: float
    method: str


class BoundStatus(StrEnum):
    """How one measurement stands to its bound."""

    HOLDS = "holds"
    MISSES = "misses"
    UNCLEAR = "unclear"
    UNDEFINED = "undefined"
    REPORTED = "reported"


@dataclass(frozen=True)
class Measurement:
    """One measured number.

    ``above`` and ``below`` are the bounds of the claim; ``null`` is the limit that a control must keep to
    on the other side of ``above`` (or of ``below``): a margin. ``low`` and ``high`` are the ends of a 95 %
    interval made by ``method``; ``p`` is the one-sided p-value of the claim from the same error, and ``spread``
    what a later run needs to tell a change from noise. ``needed`` marks a minimum (tokens, heads, words) without
    which nothing can be said. A value of None was undefined (nan) or infinite, and ``note`` says so.
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
        """Where the number stands. An interval must lie on the right side of the bound as a whole to hold."""
        if self.above is None and self.below is None:
            return BoundStatus.REPORTED
        if self.value is None:
            return BoundStatus.UNDEFINED
        if self.needed:
            return BoundStatus.HOLDS if self.above is None or self.value >= self.above else BoundStatus.MISSES
        if self.method and self.low is None:
            return BoundStatus.UNCLEAR  # an interval was wanted and could not be made
        sides = [
            _side(sign * self.value, sign * bound, *sorted(sign * end for end in self.ends))
            for sign, bound in ((1, self.above), (-1, self.below))
            if bound is not None
        ]
        for standing in (BoundStatus.MISSES, BoundStatus.UNCLEAR):
            if standing in sides:
                return standing
        return BoundStatus.HOLDS

    @property
    def claimed(self) -> bool:
        """Whether it carries the claim: it has a bound, and is no minimum."""
        return not self.needed and self.bound_status is not BoundStatus.REPORTED

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, or the value twice where there is none. A value outside of its interval widens it."""
        value = math.nan if self.value is None else self.value
        given = [end for end in (self.low, self.high) if end is not None]
        return min(value, *given, value), max(value, *given, value)

    @property
    def exceeds_control_limit(self) -> bool:
        """Whether a control measured this beyond the limit that controls must keep to."""
        if self.null is None or self.value is None:
            return False
        return self.value > self.null if self.above is not None else self.value < self.null

    def reached_by(self, value: float) -> bool:
        """Whether another arm's value is at least as far on the claimed side as this one."""
        own = math.nan if self.value is None else self.value
        return (self.above is None or value >= own) and (self.below is None or value <= own)

    def __str__(self) -> str:
        """One line: ``share heavy on both = 0.0431 [0.0391, 0.0471], claimed > 0.01``."""
        text = f"{self.name} = {format_number(self.value)}{' ' + self.unit if self.unit else ''}"
        if self.low is not None and self.high is not None:
            text += f" [{format_number(self.low)}, {format_number(self.high)}]"
        word = "needed" if self.needed else "claimed"
        bounds = [f"{sign} {format_number(b)}" for sign, b in ((">", self.above), ("<", self.below)) if b is not None]
        if self.needed:
            bounds = [f"at least {format_number(self.above)}"]
        return text + (f", {word} {' and '.join(bounds)}" if bounds else "") + (f" ({self.note})" if self.note else "")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data, with the standing spelled out."""
        spread = self.spread.as_dict() if self.spread else None
        return {**asdict(self), "spread": spread, "standing": str(self.bound_status)}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """The measurement that ``as_dict`` wrote."""
        spread = StandardError.of_dict(data["spread"]) if data["spread"] else None
        return cls(**{**{key: value for key, value in data.items() if key != "standing"}, "spread": spread})


def _side(value: float, bound: float, low: float, high: float) -> BoundStatus:
    """Where ``value`` in [low, high] stands to the claim ``value > bound``."""
    exact = float(value).is_integer() and float(bound).is_integer()
    noise = 0.0 if exact else BOUND_TOLERANCE * max(abs(value), abs(bound))
    if low > bound + noise:
        return BoundStatus.HOLDS
    if high < bound - noise or (exact and high <= bound):
        return BoundStatus.MISSES
    return BoundStatus.UNCLEAR


def format_number(value: float | None) -> str:
    """Three significant digits, so that rounding in the last bits never shows.

    >>> number(0.0431234), number(1211), number(None), number(12.0)
    ('0.0431', '1211', 'undefined', '12')
    """
    if value is None:
        return "undefined"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.3g}"


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
    """A measurement from whatever a trial hands over: a number, a numpy scalar, or an estimate with an interval.

    Raises TrialError when ``value`` is none of these, and when ``null`` stands without a bound.
    """
    if null is not None and above is None and below is None:
        raise TrialError(f"measure({name!r}): null={null} is a limit for controls and needs above=… or below=…")
    above, below, null = _bound(name, "above", above), _bound(name, "below", below), _bound(name, "null", null)
    ends = None if interval is None else _ends(name, interval)
    method, p, spread = "", None, StandardError.of(value)
    if isinstance(value, HasInterval):
        sides = [(bound, side) for bound, side in ((above, True), (below, False)) if bound is not None]
        if p_value := getattr(value, "p_value", None):
            p = max((_plain(name, p_value(bound, above=side)) for bound, side in sides), default=None)
        method, ends, value = escape_surrogates(value.method), _ends(name, (value.low, value.high)), value.value
    plain, notes = _plain(name, value), [escape_surrogates(note)] if note else []
    low, high = ends or (None, None)
    if not math.isfinite(plain):
        notes.append("nan: nothing to measure" if math.isnan(plain) else str(plain))
        return Measurement(_line(name), None, _line(unit), above, below, null, method=method, note="; ".join(notes))
    if low is not None and not (math.isfinite(low) and high is not None and math.isfinite(high)):
        low = high = None
        method = method or "an interval"
        notes.append("no interval" if notes else "no interval could be made")
    p = p if p is not None and math.isfinite(p) else None
    return Measurement(
        _line(name),
        plain,
        _line(unit),
        above,
        below,
        null,
        low,
        high,
        method,
        note="; ".join(notes),
        p=p,
        spread=spread,
    )


def _line(text: object) -> str:
    """A name as it is shown: on one line."""
    return " ".join(escape_surrogates(text).split())


def _bound(name: str, word: str, value: object) -> float | None:
    if value is None:
        return None
    bound = _plain(name, value)
    if not math.isfinite(bound):
        raise TrialError(f"measure({name!r}, {word}={bound}): a bound has to be a finite number")
    return bound


def _ends(name: str, interval: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = interval
    except (TypeError, ValueError):
        raise TrialError(f"measure({name!r}, interval={interval!r}): an interval is a pair, (low, high)") from None
    return _plain(name, low), _plain(name, high)


def _plain(name: str, value: object) -> float:
    """A Python float of anything that is one number."""
    item = getattr(value, "item", None)
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError  # what looks like a number was not measured as one
        return float(item() if callable(item) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise TrialError(
            f"measure({name!r}, …): {type(value).__name__} is not one number; reduce it first (mean, share, count)"
        ) from None
