"""Which unit of another model does every unit go with, and how well would a random direction do?

Everything comes from sums that are gathered once: the covariance of the units of two models, and the
covariance of the second model's units within each of its layers. A rotation R of a layer of the second model
has covariance ``C₁₂ Rᵀ`` with the first and variance ``diag(R C₂₂ Rᵀ)``, so the baseline needs no second pass
and no rotated activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor


class Covariation:
    """Co-moments of the units of two models over the same tokens, about a fixed shift.

    ``take`` adds a batch, ``+`` joins two; the order and the cuts do not matter. ``sizes`` are the units of
    each layer of the second model. The products are float32 sums of centred values, everything else is
    float64; half precision input is widened first.
    """

    def __init__(self, shift_x: Tensor, shift_y: Tensor, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self._shift = (shift_x.float(), shift_y.float())
        device = shift_x.device
        self.count = 0
        self._sums = [torch.zeros(len(s), dtype=torch.float64, device=device) for s in self._shift]
        self._squares = torch.zeros(len(shift_x), dtype=torch.float64, device=device)
        self._cross = torch.zeros(len(shift_x), len(shift_y), device=device)  # [unit of 1, unit of 2]
        self._within = [torch.zeros(size, size, device=device) for size in self.sizes]

    @classmethod
    def of(cls, x: Tensor, y: Tensor, sizes: Sequence[int]) -> Self:
        """The co-moments of one batch: ``x`` [token, unit of 1], ``y`` [token, unit of 2], the same tokens."""
        made = cls(x.float().mean(dim=0), y.float().mean(dim=0), sizes)
        made.take(x, y)
        return made

    def take(self, x: Tensor, y: Tensor) -> None:
        """Add a batch."""
        a, b = x.float() - self._shift[0], y.float() - self._shift[1]
        self.count += len(a)
        self._sums[0] += a.sum(dim=0).double()
        self._sums[1] += b.sum(dim=0).double()
        self._squares += a.square().sum(dim=0).double()
        self._cross.addmm_(a.T, b)
        for total, layer in zip(self._within, b.split(self.sizes, dim=1), strict=True):
            total.addmm_(layer.T, layer)

    def __add__(self, other: Self) -> Self:
        """The co-moments of both together; the shift of the result is that of the first."""
        moved = other.about(self._shift)
        joined = type(self)(*self._shift, self.sizes)
        joined.count = self.count + moved.count
        joined._sums = [a + b for a, b in zip(self._sums, moved._sums, strict=True)]
        joined._squares = self._squares + moved._squares
        joined._cross = self._cross + moved._cross
        joined._within = [a + b for a, b in zip(self._within, moved._within, strict=True)]
        return joined

    def about(self, shift: tuple[Tensor, Tensor]) -> Self:
        """The same co-moments about another shift."""
        d1, d2 = (old.double() - new.double() for old, new in zip(self._shift, shift, strict=True))
        s1, s2 = self._sums
        n = self.count
        moved = type(self)(*shift, self.sizes)
        moved.count = n
        moved._sums = [s1 + n * d1, s2 + n * d2]
        moved._squares = self._squares + 2 * d1 * s1 + n * d1**2
        cross = self._cross.double() + torch.outer(d1, s2) + torch.outer(s1, d2) + n * torch.outer(d1, d2)
        moved._cross = cross.float()
        moved._within = [
            (w.double() + torch.outer(d, s) + torch.outer(s, d) + n * torch.outer(d, d)).float()
            for w, d, s in zip(self._within, d2.split(self.sizes), s2.split(self.sizes), strict=True)
        ]
        return moved

    @property
    def variance_x(self) -> Tensor:
        """Population variance of the first model's units, [unit of 1]; zero for one that never varied."""
        mean = self._sums[0] / self.count
        return _positive(self._squares / self.count - mean**2, self._squares / self.count)

    @property
    def variance_y(self) -> Tensor:
        """Population variance of the second model's units, [unit of 2]."""
        squares = torch.cat([within.diagonal() for within in self._within]).double() / self.count
        mean = self._sums[1] / self.count
        return _positive(squares - mean**2, squares)

    def covariance(self, layer: int | None = None) -> Tensor:
        """[unit of 1, unit of 2], float32; with one layer of the second model, or with all."""
        columns = slice(None) if layer is None else self._columns(layer)
        return (
            self._cross[:, columns] / self.count
            - torch.outer(self._sums[0] / self.count, self._sums[1][columns] / self.count).float()
        )

    def _columns(self, layer: int) -> slice:
        start = sum(self.sizes[:layer])
        return slice(start, start + self.sizes[layer])

    def within(self, layer: int) -> Tensor:
        """The covariance of the second model's units inside one layer, [unit, unit]."""
        mean = self._sums[1][self._columns(layer)] / self.count
        return self._within[layer] / self.count - torch.outer(mean, mean).float()

    def correlation(self, layer: int | None = None) -> Tensor:
        """Pearson's ρ, [unit of 1, unit of 2]; nan where either unit never varied: undefined, not zero."""
        columns = slice(None) if layer is None else self._columns(layer)
        deviations = _deviation(self.variance_x), _deviation(self.variance_y[columns])
        return self.covariance(layer).div_(deviations[0][:, None]).div_(deviations[1])

    def rotated(self, layer: int, rotation: Tensor) -> Tensor:
        """ρ of the first model's units with a layer of the second in another basis, [unit of 1, direction].

        ``rotation`` [direction, unit] need not be orthogonal: scale its columns by 1/deviation for a rotation
        of standardised units.
        """
        rotation = rotation.float()
        variance = ((rotation @ self.within(layer)) * rotation).sum(dim=1)
        block = self.covariance(layer) @ rotation.T
        return block.div_(_deviation(self.variance_x)[:, None]).div_(_deviation(variance.double()))


def _positive(variance: Tensor, scale: Tensor) -> Tensor:
    # What is left of a constant after the sums were rounded is not a variance.
    return torch.where(variance > 1e-12 * scale.clamp_min(1e-300), variance, 0.0)


def _deviation(variance: Tensor) -> Tensor:
    return torch.where(variance > 0, variance.clamp_min(0).sqrt(), torch.nan).float()


@dataclass(frozen=True, eq=False)
class Best:
    """For every unit of the first model: the best unit of the second, [unit], and ρ with it.

    ``sign`` is −1 where the best match is an opposite, which only counts if signs are arbitrary. A unit that
    never varied has ρ nan and partner −1.
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
    return Best(torch.where(none, -1, partner), torch.where(none, torch.nan, value), sign)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Correlation of chosen pairs of units, gathered without products: one number per pair.

    ``of`` takes [token, pair] twice. A sum: ``+`` joins two. Sums are float64 and centred.
    """

    count: float
    mean_x: Tensor
    mean_y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Self:
        """The sums of one batch."""
        x, y = x.float(), y.float()
        mx, my = x.mean(dim=0), y.mean(dim=0)
        a, b = x - mx, y - my
        n = float(len(x))
        # What the rounded means miss is put right to first order; the rest is below float32.
        da, db = a.mean(dim=0).double(), b.mean(dim=0).double()
        xx = a.square().sum(dim=0).double() - n * da**2
        yy = b.square().sum(dim=0).double() - n * db**2
        xy = (a * b).sum(dim=0).double() - n * da * db
        return cls(n, mx.double() + da, my.double() + db, xx, yy, xy)

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
