"""Mean, variance, skew and kurtosis of every unit in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.statistics.accumulator import Accumulator, Statistic

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.statistics.scratch import Scratch


class MomentsAccumulator(Accumulator["Moments"]):
    """Sums of the first four powers of scaled values about a shift, [power, unit] float64.

    The shift is the mean of the first tile, so that hardly anything cancels later. Powers, and their sums over one
    tile, are float32 (float64 for float64 values). If the true mean is d standard deviations from the shift, the
    relative error of the variance is about 1e-8 · (1 + d²), and that of skew and kurtosis ten times as much; d is below
    one unless the kind of text changes. Values in bfloat16 or float16 are widened first, so the model's own rounding
    remains: a relative 2⁻⁹ or 2⁻¹² of each value, which adds about (m · 2⁻⁹)² / 3 to the variance of a unit whose mean
    is m standard deviations.

    Units whose values in the first tile lie further than ``USUAL_SCALES`` from their mean, or closer to it, are scaled
    by a power of two, which is exact: otherwise the fourth power of 1e-11 or 1e10 would not be a float32. A unit that
    is constant in the first tile, and varies by as little later, has no skew and kurtosis.
    """

    def __init__(self, units: int, device: Any) -> None:
        self._count = 0
        self._shift: Tensor | None = None
        self._scale: Tensor
        self._sums = torch.zeros(4, units, dtype=torch.float64, device=device)

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """Add the sums of a tile [token, unit]."""
        if self._shift is None:
            widened = tile if tile.dtype == torch.float64 else tile.float()
            self._shift = widened.mean(dim=0)
            self._scale = _scale_of((widened - self._shift).abs().amax(dim=0))
        wide = self._shift.dtype
        y = scratch.empty_like(tile, "y", wide)
        torch.addcmul(-self._shift * self._scale, tile, self._scale, out=y)  # as fast as a subtraction
        y2 = torch.mul(y, y, out=scratch.empty_like(tile, "y2", wide))
        self._sums += torch.stack([y.sum(dim=0), y2.sum(dim=0), y.mul_(y2).sum(dim=0), y2.mul_(y2).sum(dim=0)])
        self._count += len(tile)

    def result(self) -> Moments:
        """Return the moments so far, about the mean."""
        n = torch.full((), self._count, dtype=torch.float64, device=self._sums.device)
        if self._shift is None:
            nothing = torch.zeros_like(self._sums[0])
            return Moments(n, nothing, nothing, nothing, nothing)
        powers = torch.arange(1, 5, device=n.device, dtype=torch.float64)[:, None]
        # d is the distance of the true mean from the shift
        d, s2, s3, s4 = self._sums / self._scale.double() ** powers / n
        m2 = (s2 - d**2).clamp_min(0)
        m3 = s3 - 3 * d * s2 + 2 * d**3
        m4 = (s4 - 4 * d * s3 + 6 * d**2 * s2 - 3 * d**4).clamp_min(0)
        if self._shift.dtype != torch.float64:
            lost = (m2 > 0) & (m2.sqrt() * self._scale.double() < LEAST_DEVIATION)  # its powers are no float32
            m3, m4 = (power.masked_fill(lost, torch.nan) for power in (m3, m4))
        return Moments(n, self._shift.double() + d, n * m2, n * m3, n * m4)


USUAL_SCALES = 2.0**-20, 2.0**20
"""Deviations whose fourth powers are float32, with room for values much smaller or larger."""


LEAST_DEVIATION = 1e-8
"""A deviation whose fourth power is a float32 of full precision, for most values within it too."""


def _scale_of(deviation: Tensor) -> Tensor:
    """A power of two for each unit that brings its deviation near 1; 1 for a usual deviation and for a constant."""
    low, high = USUAL_SCALES
    unusual = ((deviation < low) | (deviation > high)) & (deviation > 0) & deviation.isfinite()
    _, exponent = torch.frexp(deviation)
    return torch.where(unusual, torch.ldexp(torch.ones_like(deviation), -exponent.clamp(-126, 126)), 1.0)


@dataclass(frozen=True, eq=False)
class Moments(Statistic):
    """Mean, variance, skew and (Pearson) kurtosis of every unit, from float64 sums of centred powers.

    ``count`` is [] or [unit], the others are [unit]. A Normal has skew 0 and kurtosis 3; both are undefined, nan, for a
    unit that never varied. Sums are merged after Chan, Golub and LeVeque (1983), and Pébay (2008) for the third and
    fourth power.

    >>> Moments.of(torch.tensor([[0.0], [0.0], [3.0]]), torch.arange(3), torch.arange(3)).variance.item()
    2.0
    """

    accumulator = MomentsAccumulator

    count: Tensor
    mean: Tensor
    m2: Tensor
    m3: Tensor
    m4: Tensor

    def __add__(self, other: Moments) -> Moments:
        """Return the moments over the tokens of both."""
        na, nb = self.count, other.count
        n = (na + nb).clamp_min(1)  # an expert may have seen no token in either
        delta = other.mean - self.mean
        mean = self.mean + delta * nb / n
        m2 = self.m2 + other.m2 + delta**2 * na * nb / n
        m3 = self.m3 + other.m3 + delta**3 * na * nb * (na - nb) / n**2 + 3 * delta * (na * other.m2 - nb * self.m2) / n
        m4 = (
            self.m4
            + other.m4
            + delta**4 * na * nb * (na**2 - na * nb + nb**2) / n**3
            + 6 * delta**2 * (na**2 * other.m2 + nb**2 * self.m2) / n**2
            + 4 * delta * (na * other.m3 - nb * self.m3) / n
        )
        return Moments(na + nb, mean, m2, m3, m4)

    def pooled(self) -> Moments:
        """Return the moments of the values of all units together, [1]: those of the flattened array."""
        merged = [self.count.expand(self.units), self.mean, self.m2, self.m3, self.m4]  # each [unit]
        while half := len(merged[0]) // 2:  # in pairs, so that both sides have about equal counts
            parts = (slice(half), slice(half, 2 * half), slice(2 * half, None))
            first, second, rest = ([field[part] for field in merged] for part in parts)
            pairs = Moments(*first) + Moments(*second)
            merged = [torch.cat(both) for both in zip(vars(pairs).values(), rest, strict=True)]
        return Moments(*merged)

    @property
    def variance(self) -> Tensor:
        """Population variance, [unit]."""
        return self.m2 / self.count

    @property
    def _varied(self) -> Tensor:
        # A smaller sum of squares is the rounding error of a constant.
        return self.m2 > self.count * (1e-7 * self.mean.abs().clamp_min(1e-30)) ** 2

    @property
    def skew(self) -> Tensor:
        """Third standardised moment, [unit]; nan for a constant unit."""
        value = (self.m3 / self.count) / self.variance**1.5
        return torch.where(self._varied & value.isfinite(), value, torch.nan)

    @property
    def kurtosis(self) -> Tensor:
        """Fourth standardised moment (Pearson: a Normal has 3), [unit], at least 1; nan for a constant unit."""
        value = ((self.m4 / self.count) / self.variance**2).clamp_min(1)  # below 1 by rounding alone
        return torch.where(self._varied & value.isfinite(), value, torch.nan)
