"""Makes measurements of what trials hand over: numbers, or estimates with an interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import TrialError
from pytest_unineuron.evidence.measurement import BOUND_FIELDS, HasInterval, Measurement
from pytest_unineuron.evidence.standard_error import StandardError
from pytest_unineuron.evidence.text import escape_surrogates
from pytest_unineuron.evidence.unit_contrast import Profile, UnitContrast, profile_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def make_measurement(
    name: str,
    value: object,
    *,
    unit: str = "",
    interval: tuple[float, float] | None = None,
    note: str = "",
    **bounds: float | None,
) -> Measurement:
    """A measurement of a Python number, a numpy or torch scalar, or an estimate with an interval.

    ``bounds`` are those of ``Recorder.measure``. Raises TrialError if ``value`` is none of these, if a bound is not
    finite, if no number meets both bounds, if ``interval`` is not a pair of numbers with the value between them, if
    ``null`` is given without ``above`` or ``below``, or lies beyond them, and for a distance from controls that is not
    one.
    """
    estimate = value if isinstance(value, HasInterval) else None
    fields: dict[str, Any] = {"name": _on_one_line(name), "unit": _on_one_line(unit), **_checked(name, value, bounds)}
    low, high = _interval(name, (estimate.low, estimate.high) if estimate else interval)
    fields["method"] = escape_surrogates(estimate.method) if estimate else ""
    number = _as_float(name, estimate.value if estimate else value)
    notes = [escape_surrogates(note)] if note else []
    if not math.isfinite(number):
        notes.append("nan: nothing to measure" if math.isnan(number) else str(number))
        return Measurement(value=None, note="; ".join(notes), **fields)
    if estimate is None and low is not None and high is not None and (number < low or number > high):
        raise TrialError(f"measure({name!r}, interval={interval!r}): its value, {number}, is not in the interval")
    if not math.isfinite(low or 0.0) or not math.isfinite(high or 0.0):
        low = high = None
        fields["method"] = fields["method"] or "an interval"
        notes.append("no interval" if notes else "no interval could be made")
    p = _p_value(name, estimate, bounds.get("above"), bounds.get("below")) if estimate else None
    spread = StandardError.of(value)
    return Measurement(value=number, low=low, high=high, note="; ".join(notes), p=p, spread=spread, **fields)


def _checked(name: str, value: object, given: Mapping[str, float | None]) -> dict[str, Any]:
    """The bounds as fields of a measurement, with the comparison that an estimate by unit carries."""
    bounds = {word: None if bound is None else _finite_bound(name, word, bound) for word, bound in given.items()}
    above, below, null, higher_by, lower_by = (bounds.get(word) for word in BOUND_FIELDS[:-1])
    by_unit = bool(getattr(value, "by_unit", False))
    if above is not None and below is not None and above >= below:
        raise TrialError(f"measure({name!r}): no number is above {above} and below {below}")
    _check_null(name, above, below, null)
    _check_distance(name, higher_by, lower_by, by_unit=by_unit)
    if not by_unit:
        return bounds
    contrast = _unit_contrast(name, value, higher_by, lower_by)
    return {**bounds, "by_unit": True, "profile": _profile(value), "contrast": contrast}


def _profile(estimate: Any) -> Profile:
    return profile_of((layer, value if math.isfinite(value) else None) for layer, value in estimate.profile)


def _unit_contrast(name: str, estimate: Any, higher_by: float | None, lower_by: float | None) -> UnitContrast | None:
    """The contrast that an estimate unit by unit carries on a control arm; None on the model itself."""
    made = estimate.contrast
    if made is None:
        return None
    p = _p_value(name, made, higher_by, None if lower_by is None else 1 - lower_by)
    given = {end: getattr(made, end) for end in ("value", "low", "high")}
    ends = {end: min(1.0, max(0.0, float(value))) if math.isfinite(value) else None for end, value in given.items()}
    return UnitContrast(**ends, method=made.method, p=p, profile=_profile(made))


def _check_distance(name: str, higher_by: float | None, lower_by: float | None, *, by_unit: bool) -> None:
    """Raise TrialError unless at most one distance is given, in the range of what was measured."""
    if higher_by is not None and lower_by is not None:
        raise TrialError(f"measure({name!r}): give higher_by=… or lower_by=…, not both")
    distance = higher_by if higher_by is not None else lower_by
    if distance is None:
        if by_unit:
            raise TrialError(
                f"measure({name!r}): units are compared with those of controls; say higher_by=SMALL or more"
            )
        return
    if by_unit and not 0.5 < distance < 1:
        raise TrialError(
            f"measure({name!r}): a distance of {distance} is none for single units, which is a probability between "
            "0.5 and 1, such as SMALL, MEDIUM or LARGE"
        )
    if not by_unit and distance < 0:
        raise TrialError(
            f"measure({name!r}): a distance from controls is not negative; for less than them say lower_by=…"
        )


def _check_null(name: str, above: float | None, below: float | None, null: float | None) -> None:
    """Raise TrialError for a limit of controls without a bound, or beyond it: none that shows the claim exceeds it."""
    if null is not None and above is None and below is None:
        raise TrialError(f"measure({name!r}): null={null} is a limit for controls and needs above=… or below=…")
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
    if isinstance(bound, str):
        raise TrialError(f"measure({name!r}, {word}={bound!r}): a bound is a number, such as the constant MEDIUM")
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
    low, high = _as_float(name, low), _as_float(name, high)
    if low > high:
        raise TrialError(f"measure({name!r}, interval={interval!r}): its ends are (low, high), the smaller one first")
    return low, high


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
        mask = getattr(value, "mask", False)
        if not callable(mask) and mask:  # a masked number of numpy, below which is any number
            return math.nan
        return float(item() if callable(item) else value)  # type: ignore[arg-type]
    except OverflowError:
        raise TrialError(f"measure({name!r}, …): a number beyond 1e308 has no place in a float") from None
    except (TypeError, ValueError, RuntimeError):
        raise TrialError(
            f"measure({name!r}, …): {type(value).__name__} is not one number; reduce it first (mean, share, count)"
        ) from None
