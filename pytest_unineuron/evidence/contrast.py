"""The model against one control: by how much a measurement lies beyond it, and whether that is enough."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.measurement import (
    BoundStatus,
    Measurement,
    format_interval,
    format_number,
    is_whole,
    measurements_by_key,
)
from pytest_unineuron.evidence.standard_error import error_of_difference, student_quantile, two_sided_p_value
from pytest_unineuron.evidence.unit_contrast import Profile, profile_data

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

ROUNDING_TOLERANCE = 1e-5
"""The relative difference up to which results of float32 count as equal."""
NO_EFFECT = 0.5
"""The probability of superiority of two samples of one distribution."""
BARS = "▁▂▃▄▅▆▇█"
"""Bars for probabilities from 0 to 1."""


@dataclass(frozen=True)
class Contrast:
    """One measurement of the model against one control.

    ``value`` is a probability of superiority if ``by_unit`` (see ``UnitContrast``), else the difference of the two
    numbers. The claim is that it lies, with its whole 95 % interval [low, high], beyond ``claimed``: above it, or
    below it if ``lower``, and that no single layer decides it. ``value`` is None if the contrast could not be made.
    """

    measurement: str
    control: str
    by_unit: bool
    lower: bool
    claimed: float
    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    profile: Profile = ()

    @property
    def status(self) -> BoundStatus:
        """How the contrast compares with what is claimed; a claim that one layer carries alone is unclear."""
        return BoundStatus.UNCLEAR if self.carried_by is not None else self._status_of_mean

    @property
    def _status_of_mean(self) -> BoundStatus:
        if self.value is None:
            return BoundStatus.UNDEFINED
        above, below = (None, self.claimed) if self.lower else (self.claimed, None)
        # A value without an interval decides nothing.
        judged = Measurement("", self.value, above=above, below=below, low=self.low, high=self.high, method="jackknife")
        return judged.bound_status

    @property
    def carried_by(self) -> int | None:
        """The layer without which the claim would not hold of the others; None if no single layer decides it."""
        sign = -1 if self.lower else 1
        values = [(sign * value, layer) for layer, value in self.profile if value is not None]
        if not values or len(self.profile) < 2 or self._status_of_mean is not BoundStatus.HOLDS:
            return None
        best, layer = max(values)
        if len(values) < 2:
            return layer
        rest = (math.fsum(value for value, _ in values) - best) / (len(values) - 1)
        return None if rest > sign * self.claimed else layer

    @property
    def reaches_control(self) -> bool:
        """Whether the control is at least as extreme as the model."""
        middle = NO_EFFECT if self.by_unit else 0.0
        return self.value is None or (self.value >= middle if self.lower else self.value <= middle)

    @property
    def margin(self) -> float:
        """The distance of the value from what is claimed, positive on the claimed side; −∞ without a value."""
        if self.value is None:
            return -math.inf
        return (self.claimed - self.value) if self.lower else (self.value - self.claimed)

    def __str__(self) -> str:
        """One line: ``kurtosis against shuffled: P(higher) = 0.71 [0.70, 0.72], claimed > 0.64``."""
        what = f"P({'lower' if self.lower else 'higher'})" if self.by_unit else "difference"
        alone = "" if self.carried_by is None else f", and not without layer {self.carried_by}"
        return (
            f"{self.measurement} against {self.control}: {what} = {self.value_text}, claimed {self.claim_text}{alone}"
        )

    @property
    def value_text(self) -> str:
        """The value with its interval; of a probability, that of being on the claimed side."""
        value, low, high, claimed = self._shown
        return format_number(value, claimed) + format_interval(low, high, claimed)

    @property
    def claim_text(self) -> str:
        """What is claimed, ``> 0.64``, of the number in ``value_text``."""
        *beside, claimed = self._shown
        return f"{'<' if self.lower and not self.by_unit else '>'} {format_number(claimed, *beside)}"

    @property
    def _shown(self) -> tuple[float | None, ...]:
        """The value, the ends of its interval and what is claimed, as they are shown."""
        if self.by_unit and self.lower:
            return tuple(_complement(number) for number in (self.value, self.high, self.low, self.claimed))
        return self.value, self.low, self.high, self.claimed

    @property
    def _by_layer(self) -> list[float]:
        """The probability of being on the claimed side, in each layer that has one."""
        return [1 - value if self.lower else value for _, value in self.profile if value is not None]

    @property
    def bars(self) -> str:
        """The probability of being on the claimed side, a bar for each layer; empty without a profile."""
        return "".join(BARS[min(len(BARS) - 1, int(value * len(BARS)))] for value in self._by_layer)

    @property
    def profile_text(self) -> str:
        """The same bars with the least and the largest probability; empty without a profile."""
        values = self._by_layer
        return f"{self.bars} {format_number(min(values))} to {format_number(max(values))}" if values else ""

    def as_dict(self) -> dict[str, Any]:
        """The contrast as plain JSON data."""
        return {**asdict(self), "profile": profile_data(self.profile), "standing": str(self.status)}


def _complement(probability: float | None) -> float | None:
    return None if probability is None else 1 - probability


def contrasts(
    model: Sequence[Measurement], arms: Mapping[str, Sequence[Measurement]], ended: Collection[str] = ()
) -> Iterator[Contrast]:
    """Every comparison that the model's measurements claim, with each arm that made the measurement.

    ``arms`` holds the measurements of each control arm, by its name. With those in ``ended``, which came to their end,
    a comparison is undefined if they did not make the measurement.
    """
    for name, measurements in arms.items():
        found = measurements_by_key(measurements)
        for key, own in measurements_by_key(model).items():
            if own.compared and (key in found or name in ended):
                yield _contrast(own, found.get(key), name)


def _contrast(own: Measurement, control: Measurement | None, name: str) -> Contrast:
    """The contrast of one measurement with one arm: the one that the arm made unit by unit, else the difference."""
    lower = own.lower_by is not None
    by = own.lower_by if own.lower_by is not None else own.higher_by
    assert by is not None
    if own.by_unit:
        claimed = 1 - by if lower else by
        made = control.contrast if control else None
        if made is None:
            return Contrast(own.name, name, True, lower, claimed, None)
        return Contrast(own.name, name, True, lower, claimed, made.value, made.low, made.high, made.p, made.profile)
    claimed = -by if lower else by
    if own.value is None or control is None or control.value is None:
        return Contrast(own.name, name, False, lower, claimed, None)
    difference = own.value - control.value
    if control.lacks_interval:
        return Contrast(own.name, name, False, lower, claimed, difference)
    error, degrees = error_of_difference(own.standard_error, control.standard_error)
    reach = max(student_quantile(degrees) * error, _rounding(own.value, control.value, claimed))
    p = _one_sided_p(difference - claimed, error, degrees, lower)
    return Contrast(own.name, name, False, lower, claimed, difference, difference - reach, difference + reach, p)


def _rounding(own: float, control: float, claimed: float) -> float:
    """How much of a difference may be rounding, if that is what takes it beyond the claim; 0 of whole numbers."""
    if is_whole(own) and is_whole(control):
        return 0.0
    rounding = ROUNDING_TOLERANCE * max(abs(own), abs(control))
    return rounding if 0 < abs(own - control - claimed) <= rounding else 0.0


def _one_sided_p(distance: float, error: float, degrees: int, lower: bool) -> float | None:
    """The one-sided p-value of the claim that a distance is positive (or negative); None without an error."""
    if error == 0:
        return None
    p = two_sided_p_value(abs(distance) / error, degrees) / 2
    return p if (distance < 0) == lower else 1 - p
