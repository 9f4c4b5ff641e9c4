"""Which unit of another model does every unit go with, and how well would a random direction do?

Everything comes from sums that are gathered once: the covariance of the units of two models, and the
covariance of the second model's units within each of its layers. A rotation R of a layer of the second model
has covariance ``C₁₂ Rᵀ`` with the first and variance ``diag(R C₂₂ Rᵀ)``, so the best direction of a random basis
is found without a second pass and without rotated activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class Covariation:
    """Co-moments of the units of two models over the same tokens, about a fixed shift.

    ``take`` adds a batch, ``+`` joins two; the order and the cuts do not matter. The products are float32 sums
    of centred values, everything else is float64; half precision input is widened first.
    """

    def __init__(self, shift_x: Tensor, shift_y: Tensor) -> None:
        self._shift = (shift_x.float(), shift_y.float())
        device = shift_x.device
        self.count = 0
        self._sums = [torch.zeros(len(s), dtype=torch.float64, device=device) for s in self._shift]
        self._squares = [torch.zeros(len(s), dtype=torch.float64, device=device) for s in self._shift]
        self._cross = torch.zeros(len(shift_x), len(shift_y), device=device)  # [unit of 1, unit of 2]

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Self:
        """The co-moments of one batch: ``x`` [token, unit of 1], ``y`` [token, unit of 2], the same tokens."""
        made = cls(x.float().mean(dim=0), y.float().mean(dim=0))
        made.take(x, y)
        return made

    def take(self, x: Tensor, y: Tensor) -> None:
        """Add a batch."""
        a, b = x.float() - self._shift[0], y.float() - self._shift[1]
        self.count += len(a)
        for index, part in enumerate((a, b)):
            self._sums[index] += part.sum(dim=0).double()
            self._squares[index] += part.square().sum(dim=0).double()
        self._cross.addmm_(a.T, b)

    def __add__(self, other: Self) -> Self:
        """The co-moments of both together; the shift of the result is that of the first."""
        joined = type(self)(*self._shift)
        joined.count = self.count + other.count
        moves = [old.double() - new.double() for old, new in zip(other._shift, self._shift, strict=True)]
        for index, move in enumerate(moves):
            sums = other._sums[index]
            joined._sums[index] = self._sums[index] + sums + other.count * move
            joined._squares[index] = (
                self._squares[index] + other._squares[index] + move * (2 * sums + other.count * move)
            )
        (d1, d2), (s1, s2), n = moves, other._sums, other.count
        moved = other._cross.double() + torch.outer(d1, s2) + torch.outer(s1, d2) + n * torch.outer(d1, d2)
        joined._cross = (self._cross.double() + moved).float()
        return joined

    def covariance(self, columns: slice = slice(None)) -> Tensor:
        """[unit of 1, unit of 2], float32, for these units of the second model."""
        means = self._sums[0] / self.count, self._sums[1][columns] / self.count
        return self._cross[:, columns] / self.count - torch.outer(*means).float()

    def correlation(self, columns: slice = slice(None)) -> Tensor:
        """Pearson's ρ, [unit of 1, unit of 2]; nan where either unit never varied: undefined, not zero."""
        x, y = self.deviation(0), self.deviation(1)[columns]
        return self.covariance(columns).div_(x[:, None]).div_(y)

    def rotated(self, columns: slice, within: Covariation, rotation: Tensor) -> Tensor:
        """ρ of the first model's units with one layer of the second in another basis, [unit of 1, direction].

        ``columns`` are the units of that layer, ``within`` are its co-moments with itself. ``rotation``
        [direction, unit] need not be orthogonal: scale its columns by 1/deviation for a rotation of
        standardised units.
        """
        rotation = rotation.float()
        variance = ((rotation @ within.covariance()) * rotation).sum(dim=1)
        block = self.covariance(columns) @ rotation.T
        return block.div_(self.deviation(0)[:, None]).div_(_deviation(variance.double()))

    def deviation(self, model: int) -> Tensor:
        """The population deviation of the units of the first (0) or second (1) model, [unit]; nan for a constant."""
        mean, square = self._sums[model] / self.count, self._squares[model] / self.count
        return _deviation(_positive(square - mean**2, square))


def _positive(variance: Tensor, scale: Tensor) -> Tensor:
    # What is left of a constant after the sums were rounded is not a variance.
    return torch.where(variance > 1e-12 * scale.clamp_min(1e-300), variance, 0.0)


def _deviation(variance: Tensor) -> Tensor:
    return torch.where(variance > 0, variance.clamp_min(0).sqrt(), torch.nan).float()


@dataclass(frozen=True, eq=False)
class Best:
    """For every unit of the first model: the best unit of the second, [unit], and ρ with it.

    ``sign`` is −1 where the best match is an opposite, which only counts if signs are arbitrary. A unit that
    never varied has ρ and sign nan and partner −1.
    """

    partner: Tensor
    correlation: Tensor
    sign: Tensor


def best_of(blocks: Iterable[Tensor], *, absolute: bool = False) -> Best:
    """The best match of every row over the columns of all blocks; ``absolute``: the strongest of either sign.

    Blocks may be made one at a time, such as the layers of a model. Raises ValueError if there are none.
    """
    offset, found = 0, None
    for block in blocks:
        scores = (block.abs() if absolute else block).nan_to_num(nan=-torch.inf)
        value, partner = scores.max(dim=1)
        sign = torch.where(block.gather(1, partner[:, None])[:, 0] < 0, -1.0, 1.0) if absolute else value.new_ones(())
        new = (value, partner + offset, sign.expand_as(value))
        if found is not None:
            better = value > found[0]
            new = tuple(torch.where(better, a, b) for a, b in zip(new, found, strict=True))  # type: ignore[assignment]
        found, offset = new, offset + block.shape[1]
    if found is None:
        raise ValueError("best_of needs a block of correlations; there was none")
    value, partner, sign = found
    none = value == -torch.inf
    return Best(torch.where(none, -1, partner), torch.where(none, torch.nan, value), torch.where(none, torch.nan, sign))


@dataclass(frozen=True, eq=False)
class Centred:
    """The units of one model in one batch, about their mean. ``mean`` and ``squares`` are [unit], float64.

    ``values`` [unit, token] is float32 and lies unit by unit, so that chosen units are read in one go.
    """

    mean: Tensor
    squares: Tensor
    values: Tensor

    @classmethod
    def of(cls, units: Tensor) -> Self:
        """From ``units`` [token, unit]."""
        values = units.float().T.contiguous()
        mean = values.mean(dim=1, keepdim=True)
        values = values - mean
        # What the rounded mean missed.
        rest = values.mean(dim=1, keepdim=True)
        values -= rest
        return cls((mean.double() + rest.double())[:, 0], values.square().sum(dim=1).double(), values)

    def chosen(self, index: Tensor) -> Centred:
        """Only these units, in this order."""
        return Centred(self.mean[index], self.squares[index], self.values[index])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Correlation of chosen pairs of units, gathered without products: one number per pair.

    A sum: ``+`` joins two. ``mean_x`` and ``xx`` are [pair]; the others are [pair], or [comparison, pair] where
    several pairs share their first unit. Sums are centred: float32 inside a batch, float64 over batches.
    """

    count: float
    mean_x: Tensor
    mean_y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor

    @classmethod
    def of(cls, x: Centred, *ys: Centred) -> Self:
        """The sums of one batch: every unit of ``x`` with the unit in its place in each of ``ys``."""
        return cls(
            float(x.values.shape[1]),
            x.mean,
            torch.stack([y.mean for y in ys]),
            x.squares,
            torch.stack([y.squares for y in ys]),
            torch.stack([(x.values * y.values).sum(dim=1).double() for y in ys]),
        )

    def __add__(self, other: Self) -> Self:
        """The sums of both batches together (Chan, Golub and LeVeque 1983)."""
        n = self.count + other.count
        weight = self.count * other.count / n
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        return type(self)(
            n,
            self.mean_x + dx * other.count / n,
            self.mean_y + dy * other.count / n,
            self.xx + other.xx + dx**2 * weight,
            self.yy + other.yy + dy**2 * weight,
            self.xy + other.xy + dx * dy * weight,
        )

    @property
    def correlation(self) -> Tensor:
        """Pearson's ρ of every pair, [pair], float64; nan where either side never varied."""
        scale = (self.xx * self.yy).sqrt()
        varied = (self.xx > 1e-12 * self.count * self.mean_x**2) & (self.yy > 1e-12 * self.count * self.mean_y**2)
        return torch.where(varied & (scale > 0), self.xy / scale, torch.nan)
