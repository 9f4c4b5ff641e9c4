"""What a careful user of a library gathers from activations by hand: the same for every library that is compared.

Values are shifted by the mean of the first batch and their powers summed in float32, with a float64 carry: exact
enough, and the cheapest of the ways that are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

PICKED = 64
"""Neurons whose correlations are compared."""


class Neurons:
    """Moments, density and the largest values of the neurons of one layer at one site, batch by batch."""

    def __init__(self, *, density: bool = False, largest: int = 0) -> None:
        self._density, self._largest = density, largest
        self.count = 0

    def take(self, values: Tensor) -> None:
        """Add a batch, [..., unit]."""
        values = values.reshape(-1, values.shape[-1])
        if not self.count:
            self.shift = values.mean(dim=0)
            self.powers = torch.zeros(4, values.shape[1], dtype=torch.float64)
            self.on = torch.zeros(values.shape[1], dtype=torch.int64)
            self.top = torch.empty(0, values.shape[1])
            self.where = torch.empty(0, values.shape[1], dtype=torch.int64)
        y = values - self.shift
        y2 = y * y
        self.powers += torch.stack([y.sum(0), y2.sum(0), (y2 * y).sum(0), (y2 * y2).sum(0)])
        if self._density:
            self.on += (values > 0).sum(0)
        if self._largest:
            top, where = values.topk(self._largest, dim=0)
            self.top, kept = torch.cat([self.top, top]).topk(self._largest, dim=0)
            self.where = torch.cat([self.where, where + self.count]).gather(0, kept)
        self.count += len(values)

    @property
    def found(self) -> list[float]:
        """A few numbers that tell whether this is what others find."""
        s1, s2, s3, s4 = self.powers / self.count
        variance = s2 - s1**2
        fourth = s4 - 4 * s1 * s3 + 6 * s1**2 * s2 - 3 * s1**4
        numbers = [(self.shift + s1).square().mean(), variance.mean(), (fourth / variance**2).mean()]
        numbers += [self.on.double().mean() / self.count] * self._density
        numbers += [self.top.double().mean()] if self._largest else []
        return [float(number) for number in numbers]


class Layers:
    """The same of all layers: moments and density before the activation function, moments and the largest after."""

    def __init__(self, layers: int, largest: int) -> None:
        self.before = [Neurons(density=True) for _ in range(layers)]
        self.after = [Neurons(largest=largest) for _ in range(layers)]

    def pick(self) -> list[float]:
        """Some of the numbers."""
        return [number for layer in (*self.before, *self.after) for number in layer.found]


class Products:
    """Sums and products of the neurons of two models, from which their correlations follow.

    With ``bases``, a rotation per layer of the second model, those with the rotated neurons as well.
    """

    def __init__(self, bases: Sequence[Tensor] = ()) -> None:
        self._bases = bases
        self.count = 0

    def take(self, one: Sequence[Tensor], two: Sequence[Tensor]) -> None:
        """Add a batch: the neurons of every layer, [..., unit]."""
        x, y = _beside(one), _beside(two)
        if not self.count:
            self.shifts = x.mean(dim=0), y.mean(dim=0)
            self.x, self.y = (torch.zeros(2, z.shape[1], dtype=torch.float64) for z in (x, y))
            self.cross = torch.zeros(x.shape[1], y.shape[1])
            self.rotated = torch.zeros_like(self.cross) if self._bases else None
            self.z = torch.zeros_like(self.y)
        x -= self.shifts[0]
        y -= self.shifts[1]
        self.count += len(x)
        self.x += _powers(x)
        self.y += _powers(y)
        self.cross.addmm_(x.T, y)
        if self.rotated is not None:
            parts = y.split([len(basis) for basis in self._bases], dim=1)
            z = torch.cat([part @ basis.T for part, basis in zip(parts, self._bases, strict=True)], dim=1)
            self.z += _powers(z)
            self.rotated.addmm_(x.T, z)

    def pick(self) -> list[float]:
        """Some of the correlations."""
        (a, aa), (b, bb) = (sums[:, :PICKED] / self.count for sums in (self.x, self.y))
        covariance = self.cross[:PICKED, :PICKED].double() / self.count - torch.outer(a, b)
        rho = covariance / torch.outer((aa - a**2).sqrt(), (bb - b**2).sqrt())
        return [float(rho.square().mean()), float(rho.max())]


def random_bases(layers: int, units: int) -> list[Tensor]:
    """A random orthonormal basis per layer, [direction, unit]."""
    generator = torch.Generator().manual_seed(0)
    return [torch.linalg.qr(torch.randn(units, units, generator=generator))[0] for _ in range(layers)]


def correlate(
    batches: Iterable[Tensor], neurons: Sequence[Callable[[Tensor], list[Tensor]]], bases: Sequence[Tensor] = ()
) -> Callable[[], list[float]]:
    """Correlate what two functions see of every batch, layer by layer."""
    products = Products(bases)
    for batch in batches:
        products.take(*(of(batch) for of in neurons))
    return products.pick


def _beside(layers: Sequence[Tensor]) -> Tensor:
    """All layers side by side, [token, unit]."""
    return torch.cat([layer.reshape(-1, layer.shape[-1]) for layer in layers], dim=1)


def _powers(x: Tensor) -> Tensor:
    return torch.stack([x.sum(0), x.square().sum(0)])
